"""Gaussian blur of any width along every spatial axis, as one small matrix product an axis.

A convolution with a wide kernel would need padding wider than the image; the matrix folds the reflected borders in.
"""

import numpy as np
import torch
from torch import Tensor


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur (N, C, …) with standard deviation ``sigma`` pixels, borders reflected; 0 leaves it as it is."""
    if sigma <= 0:
        return images
    for axis in range(2, images.ndim):
        matrix = blur_matrix(images.shape[axis], sigma).to(images)
        images = torch.tensordot(images, matrix, dims=([axis], [1])).movedim(-1, axis)
    return images


def blur_matrix(length: int, sigma: float) -> Tensor:
    """The (length, length) matrix that blurs a line of that length; each row sums to one.

    The line is continued by half-sample symmetric reflection, d c b a | a b c d | d c b a: place j stands for all of
    j + 2kL and -j - 1 + 2kL, whose shares are added up.
    """
    reach = int(4 * sigma + 0.5)
    share = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    share = np.append(share / (2 * share.sum() - share[0]), 0.0)  # the last stands for everything out of reach
    rows, columns = np.mgrid[:length, :length]
    matrix = np.zeros((length, length))
    for turn in range(-(reach // (2 * length)) - 1, reach // (2 * length) + 2):
        for offset in (columns - rows, columns + rows + 1):
            matrix += share[np.minimum(np.abs(offset + 2 * length * turn), reach + 1)]
    return torch.from_numpy(matrix).float()
