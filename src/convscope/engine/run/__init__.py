"""Passes over a network: gradients, replay above a layer, perturbed samples, second derivatives."""
