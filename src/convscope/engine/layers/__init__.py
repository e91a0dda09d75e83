"""Layers of a network: addresses, how their outputs lie, the default layer, kernels and feature maps."""
