"""What an ascent turns: pixels, Fourier coefficients, phases alone, or the levels of a pyramid.

Each describes the same pictures by other numbers, and thereby says which of them lie near: a step in pixels is noise of
the finest grain, the same step in Fourier coefficients of equal strength has the grain of a natural image.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from convscope.engine.optimize.canvas import Canvas
from convscope.errors import ParameterError

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
_COARSEST = 4
"""The shorter side of a pyramid's top."""


@dataclass(frozen=True, eq=False)
class Parametrisation:
    """How numbers become pictures.

    Args:
        name: what it is called.
        start: ``(count, generator)`` to the numbers an ascent begins with, pictures along the first axis.
        picture: from these to prepared pictures (N, C, …).
        rate: how far Adam goes at a step, in these numbers.
        plain: whether there is one tensor of numbers, one for each pixel, so that they can be blurred or clipped.
        given: whether it begins with given pictures and not with noise.
    """

    name: str
    start: Callable[[int, Generator], list[Tensor]]
    picture: Callable[[Sequence[Tensor]], Tensor]
    rate: float
    plain: bool = False
    given: bool = False


def pixels(canvas: Canvas, *, start: Tensor | None = None, spread: float = 0.1) -> Parametrisation:
    """Every pixel a number of its own.

    Args:
        start: a prepared picture (C, …) or (N, C, …) to begin with; otherwise grey with noise of that spread.
    """

    def begin(count: int, generator: Generator) -> list[Tensor]:
        if start is not None:
            return [_repeated(canvas.values(start), canvas, count)]
        return [canvas.coloured(spread * _noise((count, *canvas.shape), canvas, generator))]

    given = start is not None
    return Parametrisation("pixels", begin, lambda numbers: canvas.prepared(numbers[0]), 0.05, plain=True, given=given)


def fourier(
    canvas: Canvas, *, start: Tensor | None = None, spread: float = 0.05, decay: float = 1.0
) -> Parametrisation:
    """Fourier coefficients of independent colours, each as strong as it is in natural images: 1 / frequency.

    Args:
        start: a prepared picture to begin with.
        decay: the power of the frequency by which coefficients fall off.
    """
    strength = _strengths(canvas, decay)
    axes = tuple(range(2, len(canvas.shape) + 1))

    def begin(count: int, generator: Generator) -> list[Tensor]:
        if start is not None:
            values = canvas.uncoloured(_repeated(canvas.values(start), canvas, count))
            return [torch.view_as_real(torch.fft.rfftn(values, dim=axes, norm="ortho") / strength)]
        return [spread * _noise((count, canvas.shape[0], *strength.shape, 2), canvas, generator)]

    def picture(numbers: Sequence[Tensor]) -> Tensor:
        coefficients = torch.view_as_complex(numbers[0]) * strength
        values = torch.fft.irfftn(coefficients, s=canvas.extent, dim=axes, norm="ortho")
        return canvas.prepared(canvas.coloured(values))

    return Parametrisation("fourier", begin, picture, rate=0.1, given=start is not None)


def maco(canvas: Canvas, *, magnitude: Tensor | None = None, contrast: float = 1.0) -> Parametrisation:
    """Phases alone, with magnitudes held at those of natural images, so that no frequency can be driven up (MACO).

    Args:
        magnitude: (C, …) of the real Fourier transform, such as `magnitude_of` measures; by default 1 / frequency.
        contrast: the spread of the picture's values.
    """
    axes = tuple(range(2, len(canvas.shape) + 1))
    fixed = _strengths(canvas, 1.0) if magnitude is None else magnitude.to(device=canvas.device, dtype=canvas.dtype)

    def begin(count: int, generator: Generator) -> list[Tensor]:
        return [math.pi * _noise((count, canvas.shape[0], *fixed.shape[-len(axes) :]), canvas, generator)]

    def picture(numbers: Sequence[Tensor]) -> Tensor:
        values = torch.fft.irfftn(torch.polar(fixed.expand_as(numbers[0]), numbers[0]), s=canvas.extent, dim=axes)
        flat = values.flatten(1)
        spread = flat.std(1).clamp_min(1e-12)
        shape = (-1, *[1] * (values.ndim - 1))
        values = (values - flat.mean(1).view(shape)) * (contrast / spread).view(shape)
        return canvas.prepared(canvas.coloured(values))

    return Parametrisation("maco", begin, picture, rate=0.1)


def laplacian(canvas: Canvas, *, spread: float = 0.05) -> Parametrisation:
    """A pyramid: the picture is the sum of coarser and coarser pictures, enlarged."""
    levels = [canvas.extent]
    while min(levels[-1]) >= 2 * _COARSEST:
        levels.append(tuple(math.ceil(side / 2) for side in levels[-1]))

    def begin(count: int, generator: Generator) -> list[Tensor]:
        return [spread * _noise((count, canvas.shape[0], *extent), canvas, generator) for extent in levels]

    def picture(numbers: Sequence[Tensor]) -> Tensor:
        values = numbers[-1]
        for finer in reversed(numbers[:-1]):
            mode = _LINEAR[finer.ndim - 2]
            values = finer + F.interpolate(values, size=finer.shape[2:], mode=mode, align_corners=False)
        return canvas.prepared(canvas.coloured(values))

    return Parametrisation("laplacian", begin, picture, rate=0.03)


BY_NAME: dict[str, Callable[[Canvas], Parametrisation]] = {
    "fourier": fourier,
    "maco": maco,
    "pixels": pixels,
    "laplacian": laplacian,
}


def magnitude_of(canvas: Canvas, images: Tensor) -> Tensor:
    """The mean magnitude (C, …) of the Fourier transform of prepared images of the canvas's extent, for `maco`."""
    if tuple(images.shape[1:]) != canvas.shape:
        raise ParameterError(f"images to measure magnitudes of must be {canvas.shape}, got {tuple(images.shape[1:])}")
    values = canvas.uncoloured(canvas.values(images))
    found: Tensor = torch.fft.rfftn(values, dim=tuple(range(2, values.ndim))).abs().mean(0)
    return found


def _strengths(canvas: Canvas, decay: float) -> Tensor:
    """How strong each coefficient of the real transform is; unit noise becomes a picture of spread one."""
    frequencies = [torch.fft.fftfreq(side, dtype=torch.float32, device="cpu") for side in canvas.extent]
    grid = torch.stack(torch.meshgrid(*frequencies, indexing="ij")).square().sum(0).sqrt()
    strength = grid.clamp_min(1 / max(canvas.extent)) ** -decay
    strength = strength / (2 * strength.square().mean()).sqrt()
    return strength[..., : canvas.extent[-1] // 2 + 1].to(device=canvas.device, dtype=canvas.dtype)


def _noise(shape: tuple[int, ...], canvas: Canvas, generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu").to(
        device=canvas.device, dtype=canvas.dtype
    )


def _repeated(values: Tensor, canvas: Canvas, count: int) -> Tensor:
    batch = values if values.ndim == len(canvas.shape) + 1 else values[None]
    if tuple(batch.shape[1:]) != canvas.shape or len(batch) not in (1, count):
        raise ParameterError(f"a picture to begin with must be {canvas.shape}, got {tuple(values.shape)}")
    return batch.expand(count, *canvas.shape).clone()
