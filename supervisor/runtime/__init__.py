"""The interpreter: what performs the machine's effects on an event loop, and the tree that users see."""
