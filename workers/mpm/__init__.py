"""For those who come from Claude MPM's Memory Guardian: its configuration file, its variables and its ``run-guarded``, as ours.

keys       what each of its keys is here, or why it is nothing; pure
reading    its YAML, with the line of each key
toml       ours, written down
importing  what ``import-mpm`` does
guarded    ``run-guarded``
"""
