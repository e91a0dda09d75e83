"""Input specifications, and the conversion of paths, Pillow images, arrays and tensors to a prepared batch.

`ImageInput` specifies the preprocessing of a network; `Images` is the prepared batch with its names.
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
    apply_orientation,
    center_crop,
    check_size,
    convert_mode,
    image_from_array,
    open_image,
)
from convscope.errors import InputError
from convscope.values.facts import Fact


@dataclass(frozen=True)
class ImageInput:
    """The preprocessing of images for a network.

    Args:
        size: (height, width) of the prepared image, or one number for a square.
        mean, std: per channel, subtracted and divided after scaling to 0 … 1; None leaves 0 … 1.
        channels: 1 (gray) or 3 (RGB); read from ``mean`` where that is given. Prepared tensors may have others.
        fit: ``crop`` scales the shorter side to ``resize`` and takes a center crop, ``stretch`` does so without keeping
            the aspect ratio, ``pad`` keeps the whole image and pads it with gray.
        resize: the length of the shorter side before cropping; None is the shorter side of ``size``.
        interpolation: ``bilinear``, ``bicubic``, ``nearest`` or ``lanczos``.
        crop_margin: ``floor`` puts a center crop whose margins are half a pixel one pixel higher and further left, as
            transformers and Keras do; by default it is rounded to even, as in torchvision.
    """

    size: tuple[int, int] | int = (224, 224)
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    channels: int | None = None
    fit: Literal["crop", "stretch", "pad"] = "crop"
    resize: int | None = None
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos"] = "bilinear"
    crop_margin: Literal["floor"] | None = None

    def __post_init__(self) -> None:
        size = _whole_numbers("size", self.size)
        size = size * 2 if len(size) == 1 else size
        if len(size) != 2:
            raise InputError(f"size must be (height, width) in pixels, got {self.size!r}")
        if self.fit not in ("crop", "stretch", "pad"):
            raise InputError(f"fit must be crop, stretch or pad, got {self.fit!r}")
        if self.interpolation not in FILTERS:
            raise InputError(f"interpolation must be one of {', '.join(FILTERS)}, got {self.interpolation!r}")
        if self.crop_margin not in (None, "floor"):
            raise InputError(f"crop_margin must be floor or None, got {self.crop_margin!r}")
        for name in ("resize", "channels"):
            value = getattr(self, name)
            if value is not None and len(_whole_numbers(name, value)) != 1:
                raise InputError(f"{name} must be a whole number, got {value!r}")
        mean, std = _numbers("mean", self.mean), _numbers("std", self.std)
        channels = self.channels or len(mean or std or (0, 0, 0))
        mean, std = mean or (0.0,) * channels, std or (1.0,) * channels
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != channels:
                raise InputError(f"{name} has {len(values)} numbers for {channels} channels")
        if 0 in std:
            raise InputError(f"std must not hold a zero, got {std}")
        for name, value in (("size", size), ("mean", mean), ("std", std), ("channels", channels)):
            object.__setattr__(self, name, value)

    def prepare(self, picture: Pillow.Image) -> Tensor:
        """Convert a Pillow image to a prepared tensor (channels, height, width)."""
        pixels = np.asarray(self._resize_and_fit(convert_mode(picture, self.channels or 3)), np.float32) / 255
        tensor = torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1).copy())
        return (tensor - self._per_channel(self.mean)) / self._per_channel(self.std)

    def level(self, brightness: float) -> Tensor:
        """The prepared value (channels, 1, 1) of a pixel of a brightness from 0 (black) to 1 (white)."""
        return (brightness - self._per_channel(self.mean)) / self._per_channel(self.std)

    def picture(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        """The inverse of `prepare`: a prepared tensor as an image to display, uint8 (height, width, 3)."""
        pixels = tensor.detach().float().cpu()
        if len(pixels) == len(self.mean or ()):
            pixels = pixels * self._per_channel(self.std) + self._per_channel(self.mean)
        return _to_uint8(pixels)

    def _per_channel(self, values: Sequence[float] | None) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device="cpu").view(-1, 1, 1)

    def _resize_and_fit(self, picture: Pillow.Image) -> Pillow.Image:
        height, width = self.size  # type: ignore[misc]
        filter_ = FILTERS[self.interpolation]
        if self.fit == "stretch":
            scale = (self.resize or min(height, width)) / min(height, width)
            resized = picture.resize((int(width * scale), int(height * scale)), filter_)
            return center_crop(resized, height, width, margin=self.crop_margin)
        if self.fit == "pad":
            gray = 128 if picture.mode == "L" else (128, 128, 128)
            return ImageOps.pad(picture, (width, height), filter_, color=gray)
        if (picture.height, picture.width) == (height, width) and self.resize in (None, height):
            return picture
        return self._resize_and_crop(picture, height, width)

    def _resize_and_crop(self, picture: Pillow.Image, height: int, width: int) -> Pillow.Image:
        """Resize and center-crop with the arithmetic of torchvision's Resize and CenterCrop: bit-identical."""
        filter_ = FILTERS[self.interpolation]
        shorter_side = self.resize or min(height, width)
        if picture.width <= picture.height:
            resized = (shorter_side, int(shorter_side * picture.height / picture.width))
        else:
            resized = (int(shorter_side * picture.width / picture.height), shorter_side)
        if resized[0] < width or resized[1] < height:  # the shorter side alone does not cover the crop
            scale = max(height / picture.height, width / picture.width)
            resized = (max(width, round(picture.width * scale)), max(height, round(picture.height * scale)))
        if resized[0] * resized[1] > MAX_PIXELS:  # an extreme aspect ratio: crop before resizing, not after
            return ImageOps.fit(picture, (width, height), filter_)
        return center_crop(picture.resize(resized, filter_), height, width, margin=self.crop_margin)


@dataclass(frozen=True)
class TensorInput:
    """The input of a network that takes prepared tensors only: signals, volumes, many channels.

    Args:
        shape: the shape of one sample without the batch axis, e.g. (1, 64, 64, 64); None accepts any.
        spacing: the distance between neighbors along each axis, such as (5, 1, 1) for slices 5 mm thick with pixels of
            1 mm. Figures show these proportions; nothing is computed from it.
        rate: the sampling rate of signals, in samples per second; their axes are then labeled in seconds.
    """

    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.shape is not None:
            object.__setattr__(self, "shape", _whole_numbers("shape", self.shape))
            if len(self.shape) < 2:
                raise InputError(f"shape is (channels, …) of one sample without the batch, got {self.shape!r}")
        self._check_spacing()

    def _check_spacing(self) -> None:
        """Validate ``spacing`` and ``rate``, also against the shape."""
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
                expected = "one for each axis" if axes is None else f"{axes} for this shape {tuple(self.shape or ())}"
                raise InputError(f"spacing is made of numbers above 0, {expected}, got {self.spacing!r}")
            object.__setattr__(self, "spacing", spacing)

    def prepare(self, picture: Pillow.Image) -> Tensor:
        """Raise `InputError`: nothing specifies how an image is converted to this network's input."""
        raise InputError(
            "this model says nothing about images: say how they are prepared, with input=cs.ImageInput(size=…, mean=…, "
            "std=…), or pass a prepared tensor (N, C, H, W)"
        )

    def level(self, brightness: float) -> Tensor:
        """The brightness itself, since mean and standard deviation are unknown."""
        return torch.tensor(brightness, dtype=torch.float32, device="cpu")

    def picture(self, tensor: Tensor) -> np.ndarray[Any, Any] | None:
        """An image scaled to the tensor's own range, where the tensor has the shape of an image; otherwise None."""
        pixels = tensor.detach().float().cpu()
        if pixels.ndim != 3:
            return None
        low, high = pixels.min(), pixels.max()
        return _to_uint8((pixels - low) / (high - low).clamp_min(1e-12))


InputSpec = ImageInput | TensorInput


@dataclass(frozen=True)
class Photo:
    """The input as an image to display, computed from the prepared tensor on demand."""

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
    """A warning, such as that they seem not to be prepared."""

    def __len__(self) -> int:
        return len(self.tensor)

    @property
    def extent(self) -> tuple[int, ...]:
        """The spatial shape: (height, width) for images."""
        return tuple(self.tensor.shape[2:])

    def require_spatial_axes(self, method: str) -> None:
        """Check that the input has spatial axes, which vectors (N, F) have not.

        Args:
            method: the first clause of the message, such as "rise masks regions".

        Raises:
            InputError: the input has no spatial axes.
        """
        if not self.extent:
            raise InputError(
                f"{method}, and this input of shape {tuple(self.tensor.shape)} has no spatial axes: "
                "use gradient-x-input or integrated-gradients with baseline='black'"
            )

    def photo(self, index: int) -> Photo:
        """Image ``index`` as a displayable photo."""
        return Photo(self.tensor[index].detach().clone(), self.spec)


def read_images(images: Any, spec: InputSpec, *, device: torch.device, dtype: torch.dtype) -> Images:
    """Prepare images for a network.

    Args:
        images: one image, a list of images, or a prepared tensor, (C, …) for one or (N, C, …) for a batch.
        spec: the input specification of the network.
    """
    single = not isinstance(images, (list, tuple))
    if isinstance(images, Tensor):
        members: list[Any] = [images]
        tensor, single = _with_batch_axis(images, spec)
        names: tuple[str, ...] = tuple("tensor" if single else f"tensor[{i}]" for i in range(len(tensor)))
    elif isinstance(images, np.ndarray) and images.ndim == 4:
        return read_images(list(images), spec, device=device, dtype=dtype)
    else:
        members = [images] if single else list(images)
        if not members:
            raise InputError("there is no image: the list is empty")
        tensor = torch.stack(_check_equal_shapes([_prepare_one(member, spec) for member in members]))
        names = tuple(_name(member, i) for i, member in enumerate(members))
    _check_finite(tensor, "the input holds")
    prepared = tensor.to(device=device, dtype=dtype)
    if dtype not in (tensor.dtype, torch.float64, torch.float32):
        _check_finite(prepared, f"in the network's {str(dtype).removeprefix('torch.')} the input holds")
    remark = _unprepared_warning(tensor, spec) if any(isinstance(member, Tensor) for member in members) else ""
    return Images(prepared, names, single, spec, remark=remark)


def _unprepared_warning(tensor: Tensor, spec: InputSpec) -> str:
    """A warning for tensors whose range is that of raw pixels, 0 … 255 or 0 … 1; empty for prepared images.

    A prepared photograph has negative values wherever it is darker than the mean.
    """
    if not isinstance(spec, ImageInput):
        return ""
    black, white = float(spec.level(0).min()), float(spec.level(1).max())
    low, high = (float(end) for end in torch.aminmax(tensor))
    is_raw = high > max(_MIN_RAW_VALUE, 4 * white)
    is_unit_range = high <= 1 and _UNIT_RANGE_ENDS[0] <= high and low <= _UNIT_RANGE_ENDS[1] and black < -0.5
    if low < 0 or not (is_raw or is_unit_range):
        return ""
    return Fact(
        "the tensor holds numbers from {low} to {high}, and images prepared for this model lie between {black} and "
        "{white}: it seems not to be prepared (pixels in an array are prepared for you)",
        low=f"{low:.3g}",
        high=f"{high:.3g}",
        black=f"{black:.3g}",
        white=f"{white:.3g}",
    )


_MIN_RAW_VALUE = 20
"""A value larger than any in a prepared image."""
_UNIT_RANGE_ENDS = (0.5, 0.1)
"""Pixels scaled to 0 … 1 have a maximum of at least the first, and a minimum of at most the second."""


def _prepare_one(image: Any, spec: InputSpec) -> Tensor:
    if isinstance(image, Tensor):
        tensor, single = _with_batch_axis(image, spec)
        if not single:
            remedy = "; say what one sample is: input=cs.TensorInput(shape=…)" if isinstance(spec, TensorInput) else ""
            raise InputError(f"a list holds single images, got a batch of shape {tuple(image.shape)} in it{remedy}")
        return tensor[0]
    if isinstance(image, (str, Path)):
        image = open_image(image)
    if isinstance(image, np.ndarray):
        image = image_from_array(image)
    if not isinstance(image, Pillow.Image):
        raise InputError(f"an image is a path, a Pillow image, an array or a tensor, got {type(image).__name__}")
    check_size(image.size, "the image")
    return spec.prepare(apply_orientation(image))


def _with_batch_axis(tensor: Tensor, spec: InputSpec) -> tuple[Tensor, bool]:
    """A prepared tensor with a batch axis, and whether it is a single image."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        kind = "meta" if tensor.is_meta else str(tensor.layout).removeprefix("torch.")
        raise InputError(f"a prepared tensor is dense and holds numbers, got a {kind} tensor")
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"a prepared tensor holds floating-point numbers, got {kind}; pass raw pixels as an array")
    sample_ndim = 3 if isinstance(spec, ImageInput) else len(spec.shape) if spec.shape else None
    if sample_ndim is not None and tensor.ndim not in (sample_ndim, sample_ndim + 1):
        axes = "(C, H, W) or (N, C, H, W)" if sample_ndim == 3 else f"{sample_ndim} or {sample_ndim + 1} axes"
        raise InputError(f"a prepared tensor for this model is {axes}, got shape {tuple(tensor.shape)}")
    if tensor.ndim < 2 or 0 in tensor.shape:
        raise InputError(f"a prepared tensor is (N, C, …) without empty axes, got shape {tuple(tensor.shape)}")
    if sample_ndim is not None and tensor.ndim == sample_ndim:
        tensor = tensor[None]
    channels = spec.channels if isinstance(spec, ImageInput) else spec.shape[0] if spec.shape else None
    if channels is not None and tensor.shape[1] != channels:
        raise InputError(f"this model takes {channels} channels, got {tensor.shape[1]} (shape {tuple(tensor.shape)})")
    if tensor.is_inference():  # made under inference_mode: autograd can record only a copy of it
        tensor = tensor.clone()
    return tensor.detach(), len(tensor) == 1


def _check_finite(tensor: Tensor, subject: str) -> None:
    if math.isfinite(float(tensor.sum())):  # a cheap test: the sum is finite only if every number is
        return
    finite = torch.isfinite(tensor)
    if not bool(finite.all()):
        index = tuple((~finite).nonzero()[0].tolist())
        raise InputError(f"{subject} NaN or infinite numbers, the first at {index}")


def _whole_numbers(name: str, value: Any) -> tuple[int, ...]:
    """One number or several as a tuple of positive integers."""
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not numbers or any(isinstance(n, bool) or not hasattr(n, "__index__") or n.__index__() < 1 for n in numbers):
        raise InputError(f"{name} must be made of whole numbers above zero, got {value!r}")
    return tuple(n.__index__() for n in numbers)


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    """One finite number per channel or axis as a tuple."""
    if value is None:
        return ()
    try:
        numbers = tuple(float(n) for n in value)
    except (TypeError, ValueError):
        numbers = (math.nan,)
    if not numbers or not all(math.isfinite(n) for n in numbers):
        unit = {"spacing": " per axis", "rate": ""}.get(name, " per channel")
        raise InputError(f"{name} is one finite number{unit}, got {value!r}")
    return numbers


def _check_equal_shapes(tensors: list[Tensor]) -> list[Tensor]:
    shapes = {tuple(t.shape) for t in tensors}
    if len(shapes) > 1:
        raise InputError(f"tensors of one call have one shape, got {' and '.join(map(str, sorted(shapes)))}")
    return tensors


def _name(image: Any, index: int) -> str:
    return str(image) if isinstance(image, (str, Path)) else f"{type(image).__name__.lower()}[{index}]"


def _to_uint8(pixels: Tensor) -> np.ndarray[Any, Any]:
    """Channels in 0 … 1 as uint8 (height, width, 3): a single channel is repeated, only the first three are used."""
    pixels = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, *pixels.shape[1:])
    return (pixels.permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
