"""From what people have — paths, pictures, arrays, tensors — to the prepared batch a network takes.

`ImageInput` says how a network wants its images; `Images` is the prepared batch with its names.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageOps
from torch import Tensor

from convscope.engine.inputs.image_io import (
    FILTERS,
    MAX_PIXELS,
    array_picture,
    in_mode,
    middle,
    open_picture,
    refuse_size,
    upright,
)
from convscope.errors import InputError


@dataclass(frozen=True)
class ImageInput:
    """How a network wants its images.

    Args:
        size: (height, width) of the prepared image, or one number for a square.
        mean, std: per channel, subtracted and divided after scaling to 0 … 1; None leaves 0 … 1.
        channels: 1 (grey) or 3 (RGB); read from ``mean`` where that is given. Prepared tensors may have others.
        fit: ``crop`` scales the shorter side to ``resize`` and cuts the middle out, ``stretch`` does so ignoring the
            proportions, ``pad`` keeps the whole image within grey bars.
        resize: what the shorter side is scaled to before cropping; None is the shorter side of ``size``.
        interpolation: ``bilinear``, ``bicubic``, ``nearest`` or ``lanczos``.
    """

    size: tuple[int, int] | int = (224, 224)
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    channels: int | None = None
    fit: Literal["crop", "stretch", "pad"] = "crop"
    resize: int | None = None
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos"] = "bilinear"

    def __post_init__(self) -> None:
        size = _whole_numbers("size", self.size)
        size = size * 2 if len(size) == 1 else size
        if len(size) != 2:
            raise InputError(f"size must be (height, width) in pixels, got {self.size!r}")
        if self.fit not in ("crop", "stretch", "pad"):
            raise InputError(f"fit must be crop, stretch or pad, got {self.fit!r}")
        if self.interpolation not in FILTERS:
            raise InputError(f"interpolation must be one of {', '.join(FILTERS)}, got {self.interpolation!r}")
        for name in ("resize", "channels"):
            given = getattr(self, name)
            if given is not None and len(_whole_numbers(name, given)) != 1:
                raise InputError(f"{name} must be a whole number, got {given!r}")
        mean, std = _numbers("mean", self.mean), _numbers("std", self.std)
        channels = self.channels or len(mean or std or (0, 0, 0))
        mean, std = mean or (0.0,) * channels, std or (1.0,) * channels
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != channels:
                raise InputError(f"{name} has {len(values)} numbers for {channels} channels")
        if 0 in std:
            raise InputError(f"std must not hold a zero, got {std}")
        for name, found in (("size", size), ("mean", mean), ("std", std), ("channels", channels)):
            object.__setattr__(self, name, found)

    def prepare(self, picture: Pillow.Image) -> Tensor:
        """A Pillow image as a prepared tensor (channels, height, width)."""
        pixels = np.asarray(self._fitted(in_mode(picture, self.channels or 3)), np.float32) / 255
        tensor = torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1).copy())
        return (tensor - self._channelwise(self.mean)) / self._channelwise(self.std)

    def level(self, brightness: float) -> Tensor:
        """The prepared value (channels, 1, 1) of a pixel of that brightness, 0 black to 1 white."""
        return (brightness - self._channelwise(self.mean)) / self._channelwise(self.std)

    def picture(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        """The way back: a prepared tensor as uint8 (height, width, 3), for people."""
        pixels = tensor.detach().float().cpu()
        if len(pixels) == len(self.mean or ()):
            pixels = pixels * self._channelwise(self.std) + self._channelwise(self.mean)
        return _shown(pixels)

    def _channelwise(self, values: Sequence[float] | None) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device="cpu").view(-1, 1, 1)

    def _fitted(self, picture: Pillow.Image) -> Pillow.Image:
        height, width = self.size  # type: ignore[misc]
        filter_ = FILTERS[self.interpolation]
        if self.fit == "stretch":
            scale = (self.resize or min(height, width)) / min(height, width)
            return middle(picture.resize((int(width * scale), int(height * scale)), filter_), height, width)
        if self.fit == "pad":
            grey = 128 if picture.mode == "L" else (128, 128, 128)
            return ImageOps.pad(picture, (width, height), filter_, color=grey)
        if (picture.height, picture.width) == (height, width) and self.resize in (None, height):
            return picture
        return self._cropped(picture, height, width)

    def _cropped(self, picture: Pillow.Image, height: int, width: int) -> Pillow.Image:
        """Scale and cut with the arithmetic of torchvision's Resize and CenterCrop: tensors agree to the bit."""
        filter_ = FILTERS[self.interpolation]
        short = self.resize or min(height, width)
        if picture.width <= picture.height:
            resized = (short, int(short * picture.height / picture.width))
        else:
            resized = (int(short * picture.width / picture.height), short)
        if resized[0] < width or resized[1] < height:  # a size that the shorter side alone would not cover
            scale = max(height / picture.height, width / picture.width)
            resized = (max(width, round(picture.width * scale)), max(height, round(picture.height * scale)))
        if resized[0] * resized[1] > MAX_PIXELS:  # thread-thin: cut before scaling, not after
            return ImageOps.fit(picture, (width, height), filter_)
        return middle(picture.resize(resized, filter_), height, width)


@dataclass(frozen=True)
class TensorInput:
    """A network that takes prepared tensors only: signals, volumes, many channels.

    Args:
        shape: one sample without the batch axis, e.g. (1, 64, 64, 64); None accepts anything.
        spacing: how far apart neighbours along each axis are, such as (5, 1, 1) for slices 5 mm thick of pixels of
            1 mm: pictures show these proportions. Nothing is computed from it.
        rate: of signals, how many samples a second has: their axes are then in seconds.
    """

    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.shape is not None:
            object.__setattr__(self, "shape", _whole_numbers("shape", self.shape))
            if len(self.shape) < 2:
                raise InputError(f"shape is (channels, …) of one sample without the batch, got {self.shape!r}")
        self._check_distances()

    def _check_distances(self) -> None:
        """Refuse distances that are none, or that do not fit the shape."""
        axes = None if self.shape is None else len(tuple(self.shape)) - 1
        if self.rate is not None:
            rate = _numbers("rate", (self.rate,))[0]
            if rate <= 0 or self.spacing is not None or axes not in (None, 1):
                raise InputError(
                    f"rate is how many samples a second a signal (channels, samples) has, above 0 and without "
                    f"spacing, got {self.rate!r}"
                )
            object.__setattr__(self, "rate", rate)
        if self.spacing is not None:
            spacing = _numbers("spacing", self.spacing)
            if min(spacing) <= 0 or axes not in (None, len(spacing)):
                wanted = "one for each axis" if axes is None else f"{axes} for this shape {tuple(self.shape or ())}"
                raise InputError(f"spacing is made of numbers above 0, {wanted}, got {self.spacing!r}")
            object.__setattr__(self, "spacing", spacing)

    def prepare(self, picture: Pillow.Image) -> Tensor:
        """Refuse pictures: nothing says how to turn them into this network's input."""
        raise InputError(
            "this model says nothing about images: say how they are prepared, with input=cs.ImageInput(size=…, mean=…, "
            "std=…), or pass a prepared tensor (N, C, H, W)"
        )

    def level(self, brightness: float) -> Tensor:
        """Black is zero here and white is one; nothing is known of means and spreads."""
        return torch.tensor(brightness, dtype=torch.float32, device="cpu")

    def picture(self, tensor: Tensor) -> np.ndarray[Any, Any] | None:
        """A picture where the tensor has the shape of one, scaled to its own range; otherwise nothing."""
        pixels = tensor.detach().float().cpu()
        if pixels.ndim != 3:
            return None
        low, high = pixels.min(), pixels.max()
        return _shown((pixels - low) / (high - low).clamp_min(1e-12))


InputSpec = ImageInput | TensorInput


@dataclass(frozen=True)
class Photo:
    """The input as a picture for people, made from the prepared tensor only when somebody looks."""

    tensor: Tensor
    spec: InputSpec

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        picture = self.spec.picture(self.tensor)
        return self.tensor.float().cpu().numpy() if picture is None else picture  # a signal or volume as it is


@dataclass(frozen=True)
class Images:
    """A prepared batch: ``tensor`` (N, C, …) on the model's device in its dtype, one name per image."""

    tensor: Tensor
    names: tuple[str, ...]
    single: bool
    spec: InputSpec = field(default_factory=TensorInput)
    remark: str = field(default="", kw_only=True)
    """What must be said of them: that they seem not to be prepared."""

    def __len__(self) -> int:
        return len(self.tensor)

    @property
    def extent(self) -> tuple[int, ...]:
        """The spatial shape: (height, width) for images."""
        return tuple(self.tensor.shape[2:])

    def require_spatial_axes(self, method: str) -> None:
        """Refuse vectors (N, F) for a method that works on places of the input, such as "rise masks regions".

        Raises:
            InputError: the input has no spatial axes.
        """
        if not self.extent:
            raise InputError(
                f"{method}, and this input of shape {tuple(self.tensor.shape)} has no spatial axes: "
                "use gradient-x-input or integrated-gradients with baseline='black'"
            )

    def photo(self, index: int) -> Photo:
        """Image ``index`` as people see it."""
        return Photo(self.tensor[index].detach().clone(), self.spec)


def read_images(given: Any, spec: InputSpec, *, device: torch.device, dtype: torch.dtype) -> Images:
    """Prepare whatever a caller passed for a network that wants ``spec``.

    Args:
        given: one image, a list of images, or a prepared tensor, (C, …) for one or (N, C, …) for a batch.
    """
    single = not isinstance(given, (list, tuple))
    if isinstance(given, Tensor):
        members: list[Any] = [given]
        tensor, single = _batched(given, spec)
        names: tuple[str, ...] = tuple("tensor" if single else f"tensor[{i}]" for i in range(len(tensor)))
    elif isinstance(given, np.ndarray) and given.ndim == 4:
        return read_images(list(given), spec, device=device, dtype=dtype)
    else:
        members = [given] if single else list(given)
        if not members:
            raise InputError("there is no image: the list is empty")
        tensor = torch.stack(_alike([_prepared(member, spec) for member in members]))
        names = tuple(_name(member, i) for i, member in enumerate(members))
    _refuse_unfit(tensor, "the input holds")
    prepared = tensor.to(device=device, dtype=dtype)
    if dtype not in (tensor.dtype, torch.float64, torch.float32):
        _refuse_unfit(prepared, f"in the network's {str(dtype).removeprefix('torch.')} the input holds")
    remark = unprepared(tensor, spec) if any(isinstance(member, Tensor) for member in members) else ""
    return Images(prepared, names, single, spec, remark=remark)


def unprepared(tensor: Tensor, spec: InputSpec) -> str:
    """What to say of prepared tensors whose range is that of pixels, 0 … 255 or 0 … 1, and not of prepared images.

    A photograph that is prepared has numbers below zero wherever it is darker than the mean.
    """
    if not isinstance(spec, ImageInput):
        return ""
    black, white = float(spec.level(0).min()), float(spec.level(1).max())
    low, high = (float(end) for end in torch.aminmax(tensor))
    stored = high > max(_STORED, 4 * white)
    scaled = high <= 1 and _REACHES[0] <= high and low <= _REACHES[1] and black < -0.5
    if low < 0 or not (stored or scaled):
        return ""
    return (
        f"the tensor holds numbers from {low:.3g} to {high:.3g}, and images prepared for this model lie between "
        f"{black:.3g} and {white:.3g}: it seems not to be prepared (pixels in an array are prepared for you)"
    )


_STORED = 20
"""Larger than any number of a prepared image."""
_REACHES = (0.5, 0.1)
"""How far pixels scaled to 0 … 1 reach at least, at the bright and at the dark end."""


def _prepared(one: Any, spec: InputSpec) -> Tensor:
    if isinstance(one, Tensor):
        tensor, single = _batched(one, spec)
        if not single:
            remedy = "; say what one sample is: input=cs.TensorInput(shape=…)" if isinstance(spec, TensorInput) else ""
            raise InputError(f"a list holds single images, got a batch of shape {tuple(one.shape)} in it{remedy}")
        return tensor[0]
    if isinstance(one, (str, Path)):
        one = open_picture(one)
    if isinstance(one, np.ndarray):
        one = array_picture(one)
    if not isinstance(one, Pillow.Image):
        raise InputError(f"an image is a path, a Pillow image, an array or a tensor, got {type(one).__name__}")
    refuse_size(one.size, "the image")
    return spec.prepare(upright(one))


def _batched(tensor: Tensor, spec: InputSpec) -> tuple[Tensor, bool]:
    """A prepared tensor with its batch axis, and whether it is one image."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        kind = "meta" if tensor.is_meta else str(tensor.layout).removeprefix("torch.")
        raise InputError(f"a prepared tensor is dense and holds numbers, got a {kind} tensor")
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"a prepared tensor holds floating-point numbers, got {kind}; pass raw pixels as an array")
    one = 3 if isinstance(spec, ImageInput) else len(spec.shape) if spec.shape else None
    if one is not None and tensor.ndim not in (one, one + 1):
        axes = "(C, H, W) or (N, C, H, W)" if one == 3 else f"{one} or {one + 1} axes"
        raise InputError(f"a prepared tensor for this model is {axes}, got shape {tuple(tensor.shape)}")
    if tensor.ndim < 2 or 0 in tensor.shape:
        raise InputError(f"a prepared tensor is (N, C, …) without empty axes, got shape {tuple(tensor.shape)}")
    if one is not None and tensor.ndim == one:
        tensor = tensor[None]
    channels = spec.channels if isinstance(spec, ImageInput) else spec.shape[0] if spec.shape else None
    if channels is not None and tensor.shape[1] != channels:
        raise InputError(f"this model takes {channels} channels, got {tensor.shape[1]} (shape {tuple(tensor.shape)})")
    if tensor.is_inference():  # made under inference_mode: autograd may not record it, a copy may be recorded
        tensor = tensor.clone()
    return tensor.detach(), len(tensor) == 1


def _refuse_unfit(tensor: Tensor, what: str) -> None:
    if math.isfinite(float(tensor.sum())):  # cheap, and finite only where every number is
        return
    finite = torch.isfinite(tensor)
    if not bool(finite.all()):
        place = tuple((~finite).nonzero()[0].tolist())
        raise InputError(f"{what} NaN or infinite numbers, the first at {place}")


def _whole_numbers(name: str, given: Any) -> tuple[int, ...]:
    """A number or several as a tuple of whole numbers above zero."""
    several = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if not several or any(isinstance(n, bool) or not hasattr(n, "__index__") or n.__index__() < 1 for n in several):
        raise InputError(f"{name} must be made of whole numbers above zero, got {given!r}")
    return tuple(n.__index__() for n in several)


def _numbers(name: str, given: Any) -> tuple[float, ...]:
    """A mean or spread, a number per channel."""
    if given is None:
        return ()
    try:
        several = tuple(float(n) for n in given)
    except (TypeError, ValueError):
        several = (math.nan,)
    if not several or not all(math.isfinite(n) for n in several):
        each = {"spacing": " per axis", "rate": ""}.get(name, " per channel")
        raise InputError(f"{name} is one finite number{each}, got {given!r}")
    return several


def _alike(tensors: list[Tensor]) -> list[Tensor]:
    shapes = {tuple(t.shape) for t in tensors}
    if len(shapes) > 1:
        raise InputError(f"tensors of one call have one shape, got {' and '.join(map(str, sorted(shapes)))}")
    return tensors


def _name(one: Any, index: int) -> str:
    return str(one) if isinstance(one, (str, Path)) else f"{type(one).__name__.lower()}[{index}]"


def _shown(pixels: Tensor) -> np.ndarray[Any, Any]:
    """Channels in 0 … 1 as uint8 (height, width, 3): grey repeated, more than three cut to the first three."""
    pixels = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, *pixels.shape[1:])
    return (pixels.permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
