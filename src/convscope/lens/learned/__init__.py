"""What units respond to, found by optimizing the input."""
