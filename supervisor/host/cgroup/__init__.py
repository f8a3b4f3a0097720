"""Control groups: one for each leaf where the host lets us, of version 2, of version 1, or of both side by side."""
