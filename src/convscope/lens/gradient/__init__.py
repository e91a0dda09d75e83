"""Gradients: how the score depends on the input or on a layer."""
