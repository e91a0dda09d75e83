"""Perturbation, surrogates and regions: how the score changes when parts are removed."""
