"""Random transformations of the picture at each step, so that the result does not depend on single pixels.

A transform is a pure function ``(batch, generator) -> batch`` that keeps the extent. Its random numbers are drawn once
per step for the whole batch, so that a picture does not depend on the others in the batch.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from convscope.engine.optimize.picture_space import require_positions

Transform = Callable[[Tensor, Generator], Tensor]


def identity(batch: Tensor, generator: Generator) -> Tensor:
    """No transformation."""
    return batch


def compose(*transforms: Transform) -> Transform:
    """Several transforms in sequence."""

    def composed(batch: Tensor, generator: Generator) -> Tensor:
        for transform in transforms:
            batch = transform(batch, generator)
        return batch

    return composed


def jitter(pixels: int) -> Transform:
    """Circular shift by up to ``pixels`` along each axis."""

    def transform(batch: Tensor, generator: Generator) -> Tensor:
        axes = tuple(range(2, batch.ndim))
        shifts = tuple(_random_integer(-pixels, pixels, generator) for _ in axes)
        return torch.roll(batch, shifts, axes)

    return transform


def pad(pixels: int) -> Transform:
    """Zero padding (the mean color) followed by a random crop of the original extent."""

    def transform(batch: Tensor, generator: Generator) -> Tensor:
        extent = batch.shape[2:]
        batch = F.pad(batch, (pixels, pixels) * len(extent))
        for axis, side in enumerate(extent, start=2):
            batch = batch.narrow(axis, _random_integer(0, 2 * pixels, generator), side)
        return batch

    return transform


def scale_and_rotate(*, smallest: float = 1.0, largest: float = 1.0, degrees: float = 0.0) -> Transform:
    """Scaling by a factor between two and rotation by up to ``degrees``, in one interpolation; images only.

    Pixels from outside the image are filled by reflection.
    """

    def transform(batch: Tensor, generator: Generator) -> Tensor:
        factor = math.exp(_uniform(math.log(smallest), math.log(largest), generator))
        angle = math.radians(_uniform(-degrees, degrees, generator))
        if batch.ndim != 4:
            return batch
        return _sample(batch, 1 / factor, angle, (0.0, 0.0))

    return transform


def scale(smallest: float, largest: float) -> Transform:
    """Scaling about the center by a factor between two."""
    return scale_and_rotate(smallest=smallest, largest=largest)


def rotate(degrees: float) -> Transform:
    """Rotation about the center by up to ``degrees``."""
    return scale_and_rotate(degrees=degrees)


def crop(smallest: float, largest: float = 1.0) -> Transform:
    """A random crop, whose sides are a share of the image's between two, enlarged to full size; images only."""

    def transform(batch: Tensor, generator: Generator) -> Tensor:
        share = _uniform(smallest, largest, generator)
        center = tuple((1 - share) * _uniform(-1, 1, generator) for _ in range(2))
        return batch if batch.ndim != 4 else _sample(batch, share, 0.0, center)

    return transform


def noise(std: float) -> Transform:
    """Additive Gaussian noise of this standard deviation, in prepared values, equal for all pictures of the batch."""

    def transform(batch: Tensor, generator: Generator) -> Tensor:
        added = torch.randn(tuple(batch.shape[1:]), generator=generator, dtype=torch.float32, device="cpu")
        return batch + std * added.to(device=batch.device, dtype=batch.dtype)

    return transform


def standard(extent: tuple[int, ...]) -> Transform:
    """The default set: shift by up to a sixteenth of the side, scale by 5 %, rotate by 5°."""
    return compose(jitter(_shift(extent, 16)), scale_and_rotate(smallest=0.95, largest=1.05, degrees=5))


def strong(extent: tuple[int, ...]) -> Transform:
    """A stronger set: shift by up to an eighth of the side, rotate by 10°, crop to half the side or more, add noise."""
    return compose(jitter(_shift(extent, 8)), scale_and_rotate(degrees=10), crop(0.5), noise(0.1))


BY_NAME: dict[str, Callable[[tuple[int, ...]], Transform]] = {
    "standard": standard,
    "strong": strong,
    "jitter": lambda extent: jitter(_shift(extent, 16)),
    "none": lambda extent: identity,
}


def _shift(extent: tuple[int, ...], share: int) -> int:
    """This share of the shortest side, at least one position."""
    require_positions(extent)
    return max(1, min(extent) // share)


def _sample(batch: Tensor, share: float, angle: float, center: tuple[float, ...]) -> Tensor:
    """A rotated crop of every picture; the batch is sampled as channels of one image, at the same positions."""
    height, width = batch.shape[2:]
    y, x = (_pixel_centers(side, batch) for side in (height, width))
    cosine, sine, aspect = share * math.cos(angle), share * math.sin(angle), height / width
    columns = (center[0] - sine * aspect * y)[:, None] + cosine * x
    rows = (center[1] + cosine * y)[:, None] + sine / aspect * x
    grid = torch.stack([columns, rows], -1)[None]
    as_channels = batch.flatten(0, 1)[None]
    return F.grid_sample(as_channels, grid, padding_mode="reflection", align_corners=False).view_as(batch)


def _pixel_centers(side: int, like: Tensor) -> Tensor:
    """The coordinates of pixel centers along one axis, from -1 to 1."""
    return (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) * (2 / side) - 1


def _uniform(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float32, device="cpu"))


def _random_integer(low: int, high: int, generator: Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator, device="cpu"))
