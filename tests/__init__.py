"""What is claimed, and shown: one folder for each kind of proof, see the folders' own first lines."""
