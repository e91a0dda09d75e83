"""Gaussian blur of any width along every spatial axis, as one small matrix product an axis.

A convolution with a wide kernel would need padding wider than the image; the matrix folds the reflected borders in.
"""

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
    """The (length, length) matrix that blurs a line of that length; each row sums to one."""
    reach = int(4 * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    kernel /= kernel.sum()
    places = torch.arange(length)[:, None] + offsets  # half-sample symmetric reflection: d c b a | a b c d | d c b a
    places = places % (2 * length)
    places = torch.where(places >= length, 2 * length - 1 - places, places)
    matrix = torch.zeros(length, length, dtype=torch.double)
    return matrix.scatter_add_(1, places, kernel.expand(length, -1)).float()
