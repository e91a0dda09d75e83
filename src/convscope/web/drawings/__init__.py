"""What Learned is made of: the picture that is being drawn, and the gallery of those that were."""
