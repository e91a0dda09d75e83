"""Mechanics on tensors and modules. The engine knows no method, no file format and no picture."""
