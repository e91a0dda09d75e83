"""What Compare is made of: a network on an image, and the difference of two such."""
