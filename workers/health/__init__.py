"""What judges samples and decides: the level of each leaf, and what is done about it."""
