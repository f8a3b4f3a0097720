"""Claude Code as a leaf: what its command line means, which conversation each life goes on with, what its hooks tell of turns."""
