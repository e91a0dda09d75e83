"""The page Compare.

page.py         the page: the choice of lens, networks and images, and all maps on one scale
cell.py         one network on one image
difference.py   the difference of two maps
"""
