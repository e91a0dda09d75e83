"""What methods are made of that take parts of an image away and look at how the score changes.

masks.py        many masks over an image, their scores, and how much each place counted
coalitions.py   images with some of their parts shown and the rest replaced, and their scores
segments.py     an image cut into parts: superpixels, grids, a map of one's own
estimates.py    how sure a mean over random draws is, and when it is sure enough
"""
