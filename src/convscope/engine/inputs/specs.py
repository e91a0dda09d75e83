"""Input specifications for images and prepared tensors, and the batch of prepared inputs.

`ImageInput` specifies the preprocessing of a network; `Images` is the prepared batch with its names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageOps
from torch import Tensor

from convscope.engine.inputs.grid import Grid, Sample
from convscope.engine.inputs.image_io import (
    FILTERS,
    MAX_PIXELS,
    center_crop,
    check_size,
    convert_mode,
    image_extensions,
    image_from_array,
    open_image,
)
from convscope.engine.inputs.input_files import read_input
from convscope.engine.inputs.number_checks import finite_numbers, whole_numbers
from convscope.engine.inputs.raw_input import RawInput, as_numbers
from convscope.errors import InputError
from convscope.values.input_kinds import INPUT_KINDS


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

    kind: ClassVar[str] = "image"
    batch_ndim: ClassVar[int] = 4
    """An array with so many axes is a batch, and not a single input."""

    def __post_init__(self) -> None:
        size = whole_numbers("size", self.size)
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
            if value is not None and len(whole_numbers(name, value)) != 1:
                raise InputError(f"{name} must be a whole number, got {value!r}")
        mean, std = finite_numbers("mean", self.mean), finite_numbers("std", self.std)
        channels = self.channels or len(mean or std or (0, 0, 0))
        mean, std = mean or (0.0,) * channels, std or (1.0,) * channels
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != channels:
                raise InputError(f"{name} has {len(values)} numbers for {channels} channels")
        if min(std) <= 0:
            raise InputError(f"std must be above zero, got {std}")
        for name, value in (("size", size), ("mean", mean), ("std", std), ("channels", channels)):
            object.__setattr__(self, name, value)

    def as_inputs(self, given: Any) -> Any:
        """What a caller passes, as one input or a list of them; images are written as such."""
        return given

    def address_of(self, member: Any) -> str:
        """An input in memory as text that `open` reads; empty for images."""
        return ""

    def open(self, address: str | Path) -> Pillow.Image:
        """Read an image file or a sample, without preparing it."""
        return open_image(address)

    def takes_folder(self, path: str | Path) -> bool:
        """Whether a folder is one input, as for a series of slices: no, it is a data set of images."""
        return False

    def file_extensions(self) -> tuple[str, ...]:
        """The endings of the files in a folder that are inputs."""
        return tuple(image_extensions())

    def prepare_array(self, array: np.ndarray[Any, Any]) -> Sample:
        """Prepare an array of pixels (height, width) or (height, width, channels)."""
        picture = image_from_array(array)
        check_size(picture.size, "the image")
        return Sample(self.prepare(picture), size=(picture.height, picture.width))

    def prepare_raw(self, raw: RawInput) -> Sample:
        """Raise `InputError`: the network takes pictures."""
        raise InputError(f"{raw.title} is no picture, and this network takes pictures: see cs.BandsInput and others")

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
            object.__setattr__(self, "shape", whole_numbers("shape", self.shape))
            if len(self.shape) < 2:
                raise InputError(f"shape is (channels, …) of one sample without the batch, got {self.shape!r}")
        self._check_spacing()

    def _check_spacing(self) -> None:
        """Validate ``spacing`` and ``rate``, also against the shape."""
        axes = None if self.shape is None else len(tuple(self.shape)) - 1
        if self.rate is not None:
            rate = finite_numbers("rate", (self.rate,))[0]
            if rate <= 0 or self.spacing is not None or axes not in (None, 1):
                raise InputError(
                    f"rate is how many samples a second a signal (channels, samples) has, above 0 and without "
                    f"spacing, got {self.rate!r}"
                )
            object.__setattr__(self, "rate", rate)
        if self.spacing is not None:
            spacing = finite_numbers("spacing", self.spacing)
            if min(spacing) <= 0 or axes not in (None, len(spacing)):
                expected = "one for each axis" if axes is None else f"{axes} for this shape {tuple(self.shape or ())}"
                raise InputError(f"spacing is made of numbers above 0, {expected}, got {self.spacing!r}")
            object.__setattr__(self, "spacing", spacing)

    @property
    def kind(self) -> str:
        """The kind of input, as a record states it; empty if unknown."""
        return "" if self.shape is None else INPUT_KINDS.get(len(self.shape) - 1, "")

    @property
    def batch_ndim(self) -> int | None:
        """An array with so many axes is a batch, and not a single input; None if unknown."""
        return None if self.shape is None else len(self.shape) + 1

    @property
    def grid(self) -> Grid:
        """What is known of the position of every input, before one is read."""
        return Grid()

    def as_inputs(self, given: Any) -> Any:
        """What a caller passes, as one input or a list of them; kinds that are written as lists of numbers differ."""
        return given

    def address_of(self, member: Any) -> str:
        """An input in memory as text that `open` reads; empty where it cannot be written out."""
        return ""

    def open(self, address: str | Path) -> Any:
        """Read a file of numbers, or a picture, which `prepare` refuses."""
        if str(address).startswith("sample:") or str(address).lower().endswith(tuple(image_extensions())):
            return open_image(address)
        return read_input(address)

    def takes_folder(self, path: str | Path) -> bool:
        """Whether a folder is one input, as a series of slices is, and not a data set."""
        return False

    def file_extensions(self) -> tuple[str, ...]:
        """The endings of the files in a folder that are inputs: none, since files need a specification."""
        return ()

    def prepare_array(self, array: Any) -> Sample:
        """An array of prepared numbers, of the shape that the network takes, as a tensor; others are refused."""
        if self.shape is None or array.shape not in (self.shape, self.shape[1:]):
            self.prepare(image_from_array(array))
        return self.prepare_raw(RawInput(as_numbers(array, "the array"), title="the array"))

    def prepare_raw(self, raw: RawInput) -> Sample:
        """The numbers of a file as they are; nothing specifies how they are scaled.

        Raises:
            InputError: the shape does not fit.
        """
        if self.shape is not None and not raw.axes and raw.values.shape == self.shape[1:] and self.shape[0] == 1:
            raw = RawInput(raw.values[None], title=raw.title)
        if self.shape is not None and raw.values.shape != self.shape:
            raise InputError(f"{raw.title} has the shape {raw.values.shape}, this network takes {self.shape}")
        if raw.values.ndim < 2:
            raise InputError(f"{raw.title} has the shape {raw.values.shape}: an input is (channels, …)")
        grid = Grid(raw.spacing, raw.unit, raw.affine, raw.channel_names)
        return Sample(torch.from_numpy(np.ascontiguousarray(raw.values)), grid)

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
    grids: tuple[Grid, ...] = field(default=(), kw_only=True)
    """Where each input lies in time or space; empty if unknown."""
    sizes: tuple[tuple[int, ...], ...] = field(default=(), kw_only=True)
    """The height and width of each picture before it was prepared; empty where that is unknown."""

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


def _to_uint8(pixels: Tensor) -> np.ndarray[Any, Any]:
    """Channels in 0 … 1 as uint8 (height, width, 3): a single channel is repeated, only the first three are used."""
    pixels = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, *pixels.shape[1:])
    return (pixels.permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
