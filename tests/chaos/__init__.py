"""Random trees of real processes under random faults, with invariants that are checked throughout.

    python -m tests.chaos [--seconds 600] [--seed N] [--backend trio|asyncio]

growth.py       what grows: random supervisors and leaves
faults.py       what befalls them
invariants.py   what must hold at every moment, and at the end
"""
