"""What a degraded mode means for a leaf, and who is told."""
