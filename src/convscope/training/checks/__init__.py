"""Checks: what is wrong with a network, its training or its images, one symptom per file."""
