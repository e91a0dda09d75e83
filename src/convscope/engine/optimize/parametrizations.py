"""Parametrizations of a picture: pixels, Fourier coefficients, phases only, or the levels of a Laplacian pyramid.

Each describes the same pictures by other parameters and so changes the direction of a gradient step: a step in pixels
adds high-frequency noise, a step in scaled Fourier coefficients has the spectrum of a natural image.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from convscope.engine.optimize.picture_space import PictureSpace, require_positions
from convscope.errors import ParameterError

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
_COARSEST = 4
"""The smallest shorter side of a pyramid level."""


@dataclass(frozen=True, eq=False)
class Parametrization:
    """A differentiable map from parameters to pictures.

    Args:
        name: its name.
        initial: ``(count, generator)`` to the initial parameters, with pictures along the first axis.
        picture: maps parameters to prepared pictures (N, C, …).
        rate: the default learning rate of Adam.
        per_pixel: whether there is one parameter for each pixel, which can be blurred or clipped.
        from_pictures: whether the initial parameters are those of given pictures, not noise.
    """

    name: str
    initial: Callable[[int, Generator], list[Tensor]]
    picture: Callable[[Sequence[Tensor]], Tensor]
    rate: float
    per_pixel: bool = False
    from_pictures: bool = False


def pixels(space: PictureSpace, *, start: Tensor | None = None, std: float = 0.1) -> Parametrization:
    """One parameter for each pixel and channel.

    Args:
        start: the initial prepared picture, (C, …) or (N, C, …); by default gray with noise of standard deviation
            ``std``.
    """

    def initial(count: int, generator: Generator) -> list[Tensor]:
        if start is not None:
            return [_expand(space.from_input(start), space, count)]
        return [space.correlate(std * _noise((count, *space.shape), space, generator))]

    def picture(parameters: Sequence[Tensor]) -> Tensor:
        return space.to_input(parameters[0])

    return Parametrization("pixels", initial, picture, 0.05, per_pixel=True, from_pictures=start is not None)


def fourier(
    space: PictureSpace, *, start: Tensor | None = None, std: float = 0.05, decay: float = 1.0
) -> Parametrization:
    """Fourier coefficients of decorrelated channels, scaled like the spectrum of natural images, by 1 / frequency.

    Args:
        start: the initial prepared picture.
        decay: the exponent of the frequency in that scale.
    """
    scale = _spectrum_scale(space, decay)
    axes = tuple(range(2, len(space.shape) + 1))

    def initial(count: int, generator: Generator) -> list[Tensor]:
        if start is not None:
            values = space.decorrelate(_expand(space.from_input(start), space, count))
            return [torch.view_as_real(torch.fft.rfftn(values, dim=axes, norm="ortho") / scale)]
        return [std * _noise((count, space.shape[0], *scale.shape, 2), space, generator)]

    def picture(parameters: Sequence[Tensor]) -> Tensor:
        coefficients = torch.view_as_complex(parameters[0]) * scale
        values = torch.fft.irfftn(coefficients, s=space.extent, dim=axes, norm="ortho")
        return space.to_input(space.correlate(values))

    return Parametrization("fourier", initial, picture, rate=0.1, from_pictures=start is not None)


def maco(space: PictureSpace, *, magnitude: Tensor | None = None, contrast: float = 1.0) -> Parametrization:
    """Fourier phases only, with magnitudes fixed to those of natural images, so no frequency can be amplified (MACO).

    Args:
        magnitude: (C, …) of the real Fourier transform, as from `mean_magnitude`; by default 1 / frequency.
        contrast: the standard deviation of the picture's values.
    """
    axes = tuple(range(2, len(space.shape) + 1))
    fixed = _spectrum_scale(space, 1.0) if magnitude is None else magnitude.to(device=space.device, dtype=space.dtype)

    def initial(count: int, generator: Generator) -> list[Tensor]:
        return [math.pi * _noise((count, space.shape[0], *fixed.shape[-len(axes) :]), space, generator)]

    def picture(parameters: Sequence[Tensor]) -> Tensor:
        coefficients = torch.polar(fixed.expand_as(parameters[0]), parameters[0])
        values = torch.fft.irfftn(coefficients, s=space.extent, dim=axes)
        flat = values.flatten(1)
        std = flat.std(1).clamp_min(1e-12)
        shape = (-1, *[1] * (values.ndim - 1))
        values = (values - flat.mean(1).view(shape)) * (contrast / std).view(shape)
        return space.to_input(space.correlate(values))

    return Parametrization("maco", initial, picture, rate=0.1)


def laplacian(space: PictureSpace, *, std: float = 0.05) -> Parametrization:
    """A Laplacian pyramid: the picture is the sum of its levels, upsampled to full size."""
    require_positions(space.extent)
    extents = [space.extent]
    while min(extents[-1]) >= 2 * _COARSEST:
        extents.append(tuple(math.ceil(side / 2) for side in extents[-1]))

    def initial(count: int, generator: Generator) -> list[Tensor]:
        return [std * _noise((count, space.shape[0], *extent), space, generator) for extent in extents]

    def picture(parameters: Sequence[Tensor]) -> Tensor:
        values = parameters[-1]
        for level in reversed(parameters[:-1]):
            mode = _LINEAR[level.ndim - 2]
            values = level + F.interpolate(values, size=level.shape[2:], mode=mode, align_corners=False)
        return space.to_input(space.correlate(values))

    return Parametrization("laplacian", initial, picture, rate=0.03)


BY_NAME: dict[str, Callable[[PictureSpace], Parametrization]] = {
    "fourier": fourier,
    "maco": maco,
    "pixels": pixels,
    "laplacian": laplacian,
}


def mean_magnitude(space: PictureSpace, images: Tensor) -> Tensor:
    """The mean Fourier magnitude (C, …) of prepared images of the space's extent, for `maco`."""
    if tuple(images.shape[1:]) != space.shape:
        raise ParameterError(f"images to measure magnitudes of must be {space.shape}, got {tuple(images.shape[1:])}")
    values = space.decorrelate(space.from_input(images))
    magnitude: Tensor = torch.fft.rfftn(values, dim=tuple(range(2, values.ndim))).abs().mean(0)
    return magnitude


def _spectrum_scale(space: PictureSpace, decay: float) -> Tensor:
    """The scale of each coefficient of the real transform; unit noise gives a picture of standard deviation one."""
    require_positions(space.extent)
    frequencies = [torch.fft.fftfreq(side, dtype=torch.float32, device="cpu") for side in space.extent]
    radius = torch.stack(torch.meshgrid(*frequencies, indexing="ij")).square().sum(0).sqrt()
    scale = radius.clamp_min(1 / max(space.extent)) ** -decay
    scale = scale / (2 * scale.square().mean()).sqrt()
    return scale[..., : space.extent[-1] // 2 + 1].to(device=space.device, dtype=space.dtype)


def _noise(shape: tuple[int, ...], space: PictureSpace, generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu").to(
        device=space.device, dtype=space.dtype
    )


def _expand(values: Tensor, space: PictureSpace, count: int) -> Tensor:
    """A batch of ``count`` pictures from one, or from as many."""
    batch = values if values.ndim == len(space.shape) + 1 else values[None]
    if tuple(batch.shape[1:]) != space.shape or len(batch) not in (1, count):
        raise ParameterError(f"the initial picture must be {space.shape}, got {tuple(values.shape)}")
    return batch.expand(count, *space.shape).clone()
