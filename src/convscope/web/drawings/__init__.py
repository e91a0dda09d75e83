"""The parts of the page Learned: the picture that is being optimized, and the gallery of finished ones."""
