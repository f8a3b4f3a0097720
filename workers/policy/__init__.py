"""Pure rooms of the guardian: memory levels with hysteresis, the degradation ladder, and the decision machine.

Time is an argument and effects are values: nothing here imports a clock, a loop or the operating system.
"""
