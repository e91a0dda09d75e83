"""What its units look for, drawn by an optimiser."""
