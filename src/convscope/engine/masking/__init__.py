"""What perturbation methods are built from: they replace parts of an image and observe how the score changes.

masks.py        the scores of many masked variants of an image, and random grid masks
coalitions.py   images with some of their segments shown and the others replaced, and their scores
segments.py     segmentations of an image: superpixels, grids, a given map
confidence.py   confidence bands of means over random draws, and the stability over seeds
"""
