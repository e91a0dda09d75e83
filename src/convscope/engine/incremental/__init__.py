"""Exact incremental inference: recompute only what a local change can affect.

An image with one changed window gives, at every convolution, a map that differs from the clean one in a slightly larger
window. Hundreds of such images need the clean maps once and the windows each (Nakandala et al., SIGMOD 2019).
`regions` computes where windows lie, `lazy_tensor` is the tensor that the network's forward runs on, `operations` has
what each operation does to windows, `scores` goes from windows of an image to scores.
"""

from convscope.engine.incremental.regions import (
    Extent,
    WindowPositions,
    coverage_mask,
    crop,
    mean_over_windows,
    window_starts,
)
from convscope.engine.incremental.scores import PatchContent, WindowScores, window_scores

__all__ = [
    "Extent",
    "PatchContent",
    "WindowPositions",
    "WindowScores",
    "coverage_mask",
    "crop",
    "mean_over_windows",
    "window_scores",
    "window_starts",
]
