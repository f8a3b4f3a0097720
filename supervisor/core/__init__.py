"""The pure core: values and decisions, no effects.

Nothing here reads a clock, an environment or a file, and nothing here imports an event loop: time is an argument, effects are values.
`machine.step(state, event, now)` is the supervisor; everything else is a piece of it.
"""
