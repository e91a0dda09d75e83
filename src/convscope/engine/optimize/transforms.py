"""How a picture is shaken before the network sees it: what still excites a unit then does not hang on single pixels.

A transform is a pure function ``(batch, generator) -> batch`` of the same extent. What it draws at random it draws once
a step for the whole batch, so that a picture comes out the same alone or among others.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

Transform = Callable[[Tensor, Generator], Tensor]


def still(batch: Tensor, generator: Generator) -> Tensor:
    """No transform at all."""
    return batch


def compose(*transforms: Transform) -> Transform:
    """One after the other."""

    def composed(batch: Tensor, generator: Generator) -> Tensor:
        for transform in transforms:
            batch = transform(batch, generator)
        return batch

    return composed


def jitter(pixels: int) -> Transform:
    """Move by up to so many pixels along each axis; what leaves on one side comes in on the other."""

    def moved(batch: Tensor, generator: Generator) -> Tensor:
        axes = tuple(range(2, batch.ndim))
        by = tuple(_whole(-pixels, pixels, generator) for _ in axes)
        return torch.roll(batch, by, axes)

    return moved


def pad(pixels: int) -> Transform:
    """Surround with the mean colour and cut the extent out again somewhere."""

    def padded(batch: Tensor, generator: Generator) -> Tensor:
        extent = batch.shape[2:]
        batch = F.pad(batch, (pixels, pixels) * len(extent))
        for axis, side in enumerate(extent, start=2):
            batch = batch.narrow(axis, _whole(0, 2 * pixels, generator), side)
        return batch

    return padded


def turn(*, smallest: float = 1.0, largest: float = 1.0, degrees: float = 0.0) -> Transform:
    """Scale by a factor between two and turn by an angle up to ``degrees``, in one sampling; pictures only.

    What comes in from outside is the mirrored inside.
    """

    def turned(batch: Tensor, generator: Generator) -> Tensor:
        factor = math.exp(_between(math.log(smallest), math.log(largest), generator))
        angle = math.radians(_between(-degrees, degrees, generator))
        if batch.ndim != 4:
            return batch
        return _sampled(batch, 1 / factor, angle, (0.0, 0.0))

    return turned


def scale(smallest: float, largest: float) -> Transform:
    """Scale about the centre by a factor between two."""
    return turn(smallest=smallest, largest=largest)


def rotate(degrees: float) -> Transform:
    """Turn about the centre by up to so many degrees."""
    return turn(degrees=degrees)


def crop(smallest: float, largest: float = 1.0) -> Transform:
    """Look at a random part, a share of each side between two, enlarged to the whole; pictures only."""

    def cropped(batch: Tensor, generator: Generator) -> Tensor:
        share = _between(smallest, largest, generator)
        centre = tuple((1 - share) * _between(-1, 1, generator) for _ in range(2))
        return batch if batch.ndim != 4 else _sampled(batch, share, 0.0, centre)

    return cropped


def noise(spread: float) -> Transform:
    """Add noise of that standard deviation, in prepared values, the same to every picture of the batch."""

    def noisy(batch: Tensor, generator: Generator) -> Tensor:
        added = torch.randn(tuple(batch.shape[1:]), generator=generator, dtype=torch.float32, device="cpu")
        return batch + spread * added.to(device=batch.device, dtype=batch.dtype)

    return noisy


def standard(extent: tuple[int, ...]) -> Transform:
    """The usual set: moved by up to a sixteenth of the side, scaled by a twentieth, turned by five degrees."""
    return compose(jitter(max(1, min(extent) // 16)), turn(smallest=0.95, largest=1.05, degrees=5))


def strong(extent: tuple[int, ...]) -> Transform:
    """For networks that still find a way: parts of half the side and more, moved, turned, with noise."""
    return compose(jitter(max(1, min(extent) // 8)), turn(degrees=10), crop(0.5), noise(0.1))


BY_NAME: dict[str, Callable[[tuple[int, ...]], Transform]] = {
    "standard": standard,
    "strong": strong,
    "jitter": lambda extent: jitter(max(1, min(extent) // 16)),
    "none": lambda extent: still,
}


def _sampled(batch: Tensor, share: float, angle: float, centre: tuple[float, ...]) -> Tensor:
    """A turned part of every picture; all are sampled at the same places, as so many channels of one picture."""
    height, width = batch.shape[2:]
    down, across = (_places(side, batch) for side in (height, width))
    cosine, sine, aspect = share * math.cos(angle), share * math.sin(angle), height / width
    columns = (centre[0] - sine * aspect * down)[:, None] + cosine * across
    rows = (centre[1] + cosine * down)[:, None] + sine / aspect * across
    grid = torch.stack([columns, rows], -1)[None]
    together = batch.flatten(0, 1)[None]
    return F.grid_sample(together, grid, padding_mode="reflection", align_corners=False).view_as(batch)


def _places(side: int, like: Tensor) -> Tensor:
    """The middles of pixels along one axis, from -1 to 1."""
    return (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) * (2 / side) - 1


def _between(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float32, device="cpu"))


def _whole(low: int, high: int, generator: Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator, device="cpu"))
