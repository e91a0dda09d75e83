"""Trains a small network on a data set of one's own, with the recorder on."""
