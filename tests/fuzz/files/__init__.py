"""Mutated model files: each is a model or one sentence, whatever was done to it."""
