"""Layers of a network: addresses, the layouts of their outputs, the default layer, kernels and feature maps."""
