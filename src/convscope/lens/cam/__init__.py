"""Class activation maps: regions of a layer that support the score."""
