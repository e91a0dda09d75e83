"""Gaussian blur of any width along every spatial axis, as one matrix product per axis.

A convolution with a wide kernel would need padding wider than the image; the matrix includes the reflected borders.
"""

import numpy as np
import torch
from torch import Tensor


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur (N, C, …) with standard deviation ``sigma`` in pixels and reflected borders; 0 returns it unchanged."""
    if sigma <= 0:
        return images
    for axis in range(2, images.ndim):
        matrix = blur_matrix(images.shape[axis], sigma).to(images)
        images = torch.tensordot(images, matrix, dims=([axis], [1])).movedim(-1, axis)
    return images


def blur_matrix(length: int, sigma: float) -> Tensor:
    """The (length, length) matrix that blurs a line of that length; each row sums to one.

    The line is extended by half-sample symmetric reflection, d c b a | a b c d | d c b a: position j occurs at all
    j + 2kL and -j - 1 + 2kL, whose weights are added.
    """
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    weights = np.append(weights / (2 * weights.sum() - weights[0]), 0.0)  # the last is the weight beyond the radius
    rows, columns = np.mgrid[:length, :length]
    matrix = np.zeros((length, length))
    for k in range(-(radius // (2 * length)) - 1, radius // (2 * length) + 2):
        for offset in (columns - rows, columns + rows + 1):
            matrix += weights[np.minimum(np.abs(offset + 2 * length * k), radius + 1)]
    return torch.from_numpy(matrix).float()
