"""The guardian: programs that run under a supervision tree and watch over the memory of its agents.

policy/   pure decisions: levels, degradation, what to do
probe/    what reads memory
state/    what is captured before a restart, and where it is kept
"""
