"""Targets: the number per image that is explained, and the notation for it."""
