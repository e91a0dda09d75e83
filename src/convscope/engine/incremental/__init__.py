"""Exact incremental inference: recompute only what a local change can reach.

An image with one window of it changed gives, at every convolution, a map that differs from the clean one in a window a
little larger. Hundreds of such images need the clean maps once and the windows each (Nakandala et al., SIGMOD 2019).
`places` is the arithmetic of positions, `carrier` the tensor that the user's forward runs on, `operations` what each
operation does to windows, `scores` the run from windows of an image to scores.
"""

from convscope.engine.incremental.regions import Extent, Places, covered, grid, mean_over_windows, seen_in
from convscope.engine.incremental.scores import Content, WindowScores, window_scores

__all__ = [
    "Content",
    "Extent",
    "Places",
    "WindowScores",
    "covered",
    "grid",
    "mean_over_windows",
    "seen_in",
    "window_scores",
]
