"""Input specifications of networks that take measurements from files: signals, bands of an image, volumes, clips."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.engine.inputs.grid import Grid, Sample, joined_remarks
from convscope.engine.inputs.image_io import is_existing_folder
from convscope.engine.inputs.input_files import input_extensions, is_one_input, read_input, split_address
from convscope.engine.inputs.number_checks import finite_numbers
from convscope.engine.inputs.orientation import check_orientation, letters_of, obliqueness, oriented
from convscope.engine.inputs.raw_input import RawInput, as_numbers
from convscope.engine.inputs.resampling import at_rate, cropped_or_padded, resized
from convscope.engine.inputs.specs import TensorInput
from convscope.errors import InputError
from convscope.values.facts import Fact

Numbers = NDArray[np.float32]

_OBLIQUE = 1.0
"""From how many degrees on axes are oblique."""
_SAME_RATE = 1e-3
"""Sampling rates that differ by a smaller share are equal."""


@dataclass(frozen=True)
class MeasuredInput(TensorInput, ABC):
    """What the inputs in this file have in common: how numbers in a file become the numbers that a network takes.

    Args:
        window: (low, high): values are limited to this range and scaled to 0 … 1, as a window of Hounsfield units.
        standardize: whether the mean of each input is subtracted and its standard deviation divided, after ``window``.
        mean, std: one number, or one per channel, subtracted and divided at the end.
    """

    window: tuple[float, float] | None = None
    standardize: bool = False
    mean: Sequence[float] | float | None = None
    std: Sequence[float] | float | None = None

    axes: ClassVar[tuple[str, ...]] = ()
    """The names of the axes after the channels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape is not None and len(self.shape) != len(self.axes) + 1:
            names = ", ".join(self.axes)
            raise InputError(f"shape of {type(self).__name__} is (channels, {names}), got {self.shape!r}")
        if self.window is not None:
            window = finite_numbers("window", self.window)
            if len(window) != 2 or window[0] >= window[1]:
                raise InputError(f"window is (low, high) with low below high, got {self.window!r}")
            object.__setattr__(self, "window", window)
        for name in ("mean", "std"):
            self._check_channel_numbers(name)

    def _check_channel_numbers(self, name: str) -> None:
        given = getattr(self, name)
        if given is None:
            return
        numbers = finite_numbers(name, given if isinstance(given, Sequence) else (given,))
        if self.shape is not None and len(numbers) not in (1, self.shape[0]):
            raise InputError(f"{name} has {len(numbers)} numbers for {self.shape[0]} channels")
        if name == "std" and min(numbers) <= 0:
            raise InputError(f"std must be above zero, got {numbers}")
        object.__setattr__(self, name, numbers)

    @property
    def channels(self) -> int | None:
        """The number of channels; None if any is accepted."""
        return None if self.shape is None else self.shape[0]

    def open(self, address: str | Path) -> RawInput:
        """Read an input file of any format, or a sample, without preparing it."""
        return read_input(address)

    def takes_folder(self, path: str | Path) -> bool:
        """Whether a folder is one input for this network: slices of a volume, frames of a clip."""
        folder = split_address(path)[0].expanduser()
        return is_existing_folder(folder) and is_one_input(folder, len(self.axes))

    def file_extensions(self) -> tuple[str, ...]:
        """The endings of the files in a folder that are inputs."""
        return input_extensions()

    def prepare_array(self, array: Any) -> Sample:
        """Prepare an array (channels, …) or, for a single channel, (…) of raw numbers."""
        return self.prepare_raw(RawInput(as_numbers(array, "the array"), title="the array"))

    def prepare_raw(self, raw: RawInput) -> Sample:
        """Convert the content of an input file to a prepared tensor with its grid.

        Raises:
            InputError: the number of axes or of channels does not fit, or the numbers are not finite.
        """
        raw = raw.arranged(self.channels, self.axes)
        if self.channels not in (None, len(raw.values)):
            raise InputError(
                f"{raw.title} has {len(raw.values)} channels, this network takes {self.channels}"
                + (f"; choose some with ?columns= of {', '.join(raw.channel_names)}" if raw.channel_names else "")
            )
        if not np.isfinite(raw.values).all():
            raise InputError(f"{raw.title} holds NaN or infinite numbers")
        values, grid, remark = self._on_grid(raw)
        remark = joined_remarks([raw.remark, remark])
        return Sample(torch.from_numpy(np.ascontiguousarray(values)), grid, remark)

    @abstractmethod
    def _on_grid(self, raw: RawInput) -> tuple[Numbers, Grid, str]:
        """The scaled values on the grid of the network, the grid, and a remark; each kind of input has its own."""

    def _scaled(self, values: Numbers) -> Numbers:
        """The numbers of a file as the network takes them."""
        if self.window is not None:
            low, high = self.window
            values = (values.clip(low, high) - np.float32(low)) / np.float32(high - low)
        if self.standardize:
            values = (values - values.mean()) / max(float(values.std()), 1e-12)
        if self.mean is not None:
            values = values - self._per_channel(self.mean)
        return values if self.std is None else values / self._per_channel(self.std)

    def level(self, brightness: float) -> Tensor:
        """The prepared value of a brightness from 0 to 1, the ends of the window where there is one."""
        values = torch.tensor(brightness, dtype=torch.float32, device="cpu")
        if self.standardize or (self.mean is None and self.std is None):
            return values
        mean, std = (torch.from_numpy(self._per_channel(numbers)) for numbers in (self.mean or 0.0, self.std or 1.0))
        return (values - mean) / std

    def _per_channel(self, numbers: Sequence[float] | float) -> Numbers:
        return np.asarray(numbers, np.float32).reshape(-1, *[1] * len(self.axes))


@dataclass(frozen=True)
class SignalInput(MeasuredInput):
    """The input of a network that takes signals (channels, samples): ECG, sound, vibration, spectra.

    Files are read as they are (.csv, .npy, .npz, .wav), brought to the sampling rate of the network, scaled, and cut or
    filled with zeros to its length.

    Args:
        shape: (channels, samples) of one input; None accepts any.
        rate: the sampling rate that the network was trained with, in samples per second.
        keep: ``center`` or ``start``: which part of a longer signal is kept.

    Example:
        >>> import numpy as np, convscope as cs
        >>> spec = cs.SignalInput(shape=(1, 360), rate=360, standardize=True)
        >>> spec.prepare_array(np.sin(np.arange(500) / 20)).tensor.shape
        torch.Size([1, 360])
    """

    keep: Literal["center", "start"] = "center"

    axes: ClassVar[tuple[str, ...]] = ("time",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep not in ("center", "start"):
            raise InputError(f"keep must be center or start, got {self.keep!r}")

    def _on_grid(self, raw: RawInput) -> tuple[Numbers, Grid, str]:
        values, remark, rate = raw.values, "", self.rate
        if raw.spacing and rate:
            own_rate = 1 / raw.spacing[0]
            if abs(own_rate - rate) > _SAME_RATE * rate:
                values = at_rate(values, own_rate, rate)
                remark = Fact("resampled from {old} to {new} samples per second", old=f"{own_rate:g}", new=f"{rate:g}")
        elif raw.spacing:
            remark = Fact(
                "the network names no sampling rate: the signal keeps its {rate} samples per second",
                rate=f"{1 / raw.spacing[0]:g}",
            )
        elif rate:
            remark = Fact("the file names no sampling rate: {rate} samples per second are assumed", rate=f"{rate:g}")
        spacing = (1 / rate,) if rate else raw.spacing
        grid = Grid(spacing, "s" if spacing else "", channel_names=raw.channel_names)
        values = self._scaled(values)
        if self.shape is not None:
            remark = joined_remarks([remark, _remark_on_length(values.shape[1], self.shape[1])])
            values, grid = cropped_or_padded(values, self.shape[1:], grid, at=self.keep)
        return values, grid, remark


def _remark_on_length(count: int, length: int) -> str:
    """What is said of a signal that is longer or shorter than what the network takes."""
    if count > length:
        return Fact(
            "the signal has {count} samples, and the network takes {length}: the rest is left out",
            count=count,
            length=length,
        )
    if count < length:
        return Fact(
            "the signal has {count} samples, and the network takes {length}: zeros are added",
            count=count,
            length=length,
        )
    return ""


@dataclass(frozen=True)
class BandsInput(MeasuredInput):
    """The input of a network that takes images of any number of bands: multi-spectral, 16-bit, floating-point.

    Args:
        shape: (bands, height, width) of one input; None accepts any.
        shown: the bands that are drawn as red, green and blue, or one that is drawn in gray; the first three, or the
            first one, by default.
        fit: ``crop`` scales the shorter side and takes a center crop, ``stretch`` does not keep the aspect ratio.

    Example:
        >>> import numpy as np, convscope as cs
        >>> spec = cs.BandsInput(shape=(6, 32, 32), window=(0, 10000), shown=(2, 1, 0))
        >>> spec.prepare_array(np.zeros((6, 64, 48), np.uint16)).tensor.shape
        torch.Size([6, 32, 32])
    """

    shown: tuple[int, ...] | None = None
    fit: Literal["crop", "stretch"] = "crop"

    axes: ClassVar[tuple[str, ...]] = ("height", "width")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fit not in ("crop", "stretch"):
            raise InputError(f"fit must be crop or stretch, got {self.fit!r}")
        if self.shown is not None:
            shown = tuple(self.shown) if isinstance(self.shown, (tuple, list)) else (self.shown,)
            known = all(isinstance(band, int) and 0 <= band < (self.channels or 10**6) for band in shown)
            if len(shown) not in (1, 3) or not known:
                raise InputError(f"shown is one band or three, numbered from 0, got {self.shown!r}")
            object.__setattr__(self, "shown", shown)

    def picture(self, tensor: Tensor) -> NDArray[Any] | None:
        """The shown bands, each scaled from its 1st to its 99th percentile: uint8 (height, width, 3)."""
        if tensor.ndim != 3:
            return None
        shown = self.shown or ((0, 1, 2) if len(tensor) >= 3 else (0,))
        bands = tensor.detach().float().cpu().numpy()[list(shown)]
        low, high = np.percentile(bands, (1, 99), axis=(1, 2), keepdims=True)
        levels = ((bands - low) / np.maximum(high - low, 1e-12)).clip(0, 1)
        return np.asarray((levels * 255).round(), np.uint8).transpose(1, 2, 0).repeat(3 // len(shown), 2)

    def _on_grid(self, raw: RawInput) -> tuple[Numbers, Grid, str]:
        grid, values = Grid(raw.spacing, raw.unit, channel_names=raw.channel_names), raw.values
        if self.shape is not None:
            values, grid = _fitted(values, self.shape[1:], grid, self.fit)
        return self._scaled(values), grid, ""


@dataclass(frozen=True)
class VolumeInput(MeasuredInput):
    """The input of a network that takes volumes (channels, depth, height, width): CT, MR, microscopy.

    Files (NIfTI, DICOM series, NRRD, .npy) are turned to ``orientation``, brought to ``spacing``, cut or filled with
    zeros to ``shape``, and scaled. The position in space is kept through all of this, so that a map saved as NIfTI lies
    over the scan.

    Args:
        shape: (channels, depth, height, width) of one input; None accepts any.
        spacing: the size of a voxel along each axis that the network was trained with, in millimeters; volumes of
            another size are resampled. None keeps that of the file.
        orientation: the direction in which each axis grows, such as ``RAS`` (as MONAI's ``Orientationd`` writes it), or
            ``SAR`` for slices that go up; None keeps the axes as they are in the file.
        fit: ``crop`` cuts the center out or fills the border with zeros, ``stretch`` resizes to ``shape``.

    Example:
        >>> import numpy as np, convscope as cs
        >>> spec = cs.VolumeInput(shape=(1, 16, 16, 16), window=(-1000, 400))
        >>> spec.prepare_array(np.zeros((20, 30, 12))).tensor.shape
        torch.Size([1, 16, 16, 16])
    """

    orientation: str | None = None
    fit: Literal["crop", "stretch"] = "crop"

    axes: ClassVar[tuple[str, ...]] = ("depth", "height", "width")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fit not in ("crop", "stretch"):
            raise InputError(f"fit must be crop or stretch, got {self.fit!r}")
        if self.orientation is not None:
            check_orientation(self.orientation)

    def _on_grid(self, raw: RawInput) -> tuple[Numbers, Grid, str]:
        grid, values = Grid(raw.spacing, raw.unit, raw.affine, raw.channel_names), raw.values
        remark = self._remark_on_neither(grid)
        if self.orientation is not None:
            values, turned = oriented(values, grid, self.orientation, raw.title)
            remark, grid = _remark_on_orientation(grid, self.orientation), turned
        if self.spacing is not None:
            remark = joined_remarks([remark, self._remark_on_spacing(grid)])
            values, grid = self._at_spacing(values, grid)
        if self.shape is not None:
            if self.fit == "stretch":
                values, grid = resized(values, self.shape[1:], grid)
            else:
                remark = joined_remarks([remark, _remark_on_extent(values.shape[1:], self.shape[1:])])
                values, grid = cropped_or_padded(self._scaled(values), self.shape[1:], grid)
                return values, grid, remark
        return self._scaled(values), grid, remark

    def _remark_on_neither(self, grid: Grid) -> str:
        """What is said where the network names neither the size of its voxels nor an orientation; of the file's own."""
        if self.spacing is not None or self.orientation is not None or not (grid.spacing and grid.unit):
            return ""
        size = "×".join(f"{step:.4g}" for step in grid.spacing)
        if grid.affine is None:
            return Fact("the network names no size of its voxels: those of the file are kept, {size} mm", size=size)
        return Fact(
            "the network names neither the size of its voxels nor an orientation: those of the file are kept, {size} "
            "mm and {letters}",
            size=size,
            letters=letters_of(grid.affine),
        )

    def _remark_on_spacing(self, grid: Grid) -> str:
        """What is said of voxels that have another size than those of the network, or none."""
        spacing: tuple[float, ...] = self.spacing or ()
        new = "×".join(f"{size:g}" for size in spacing)
        if not grid.spacing:
            return Fact("the file names no size of its voxels: {new} mm are assumed", new=new)
        if np.allclose(grid.spacing, spacing, rtol=_SAME_RATE):
            return ""
        old = "×".join(f"{size:.4g}" for size in grid.spacing)
        return Fact("resampled from voxels of {old} to {new} mm", old=old, new=new)

    def _at_spacing(self, values: Numbers, grid: Grid) -> tuple[Numbers, Grid]:
        """The volume with voxels of the size that the network takes; where the file says none, it is assumed."""
        spacing: tuple[float, ...] = self.spacing or ()
        if not grid.spacing:
            return values, replace(grid, spacing=spacing, unit="mm")
        extent = [
            max(1, round(size * old / new))
            for size, old, new in zip(values.shape[1:], grid.spacing, spacing, strict=True)
        ]
        return resized(values, extent, grid)


def _remark_on_extent(extent: Sequence[int], taken: Sequence[int]) -> str:
    """What is said of a volume of which the network takes the center, or which is filled with zeros."""
    is_cut = any(size > new for size, new in zip(extent, taken, strict=True))
    is_filled = any(size < new for size, new in zip(extent, taken, strict=True))
    sizes = {"size": "×".join(map(str, extent)), "taken": "×".join(map(str, taken))}
    if is_cut and is_filled:
        return Fact(
            "the volume has {size} voxels, and the network takes {taken}: its center is kept, and zeros are added",
            **sizes,
        )
    if is_cut:
        return Fact("the volume has {size} voxels, and the network takes {taken}: its center is kept", **sizes)
    if is_filled:
        return Fact("the volume has {size} voxels, and the network takes {taken}: zeros are added", **sizes)
    return ""


def _remark_on_orientation(grid: Grid, letters: str) -> str:
    """What is said of a volume whose axes are not those of the network; ``grid`` is the one of the file."""
    assert grid.affine is not None, "a volume without a position is not turned"
    own, angle = letters_of(grid.affine), obliqueness(grid.affine)
    turned = Fact("turned from {old} to {new}", old=own, new=letters) if own != letters else ""
    oblique = Fact(
        "its axes are {angle} degrees away from those of the body: it is turned to the nearest ones, and not resampled",
        angle=f"{angle:.3g}",
    )
    return joined_remarks([turned, oblique if angle > _OBLIQUE else ""])


@dataclass(frozen=True)
class VideoInput(MeasuredInput):
    """The input of a network that takes clips (channels, frames, height, width).

    Clips are read from a folder of frames, an animated GIF, or a film where its decoder is installed. Frames are taken
    at even distances; pixels are scaled to 0 … 1 before mean and standard deviation.

    Args:
        shape: (channels, frames, height, width) of one input; None accepts any.
        fit: ``crop`` scales the shorter side and takes a center crop, ``stretch`` does not keep the aspect ratio.

    Example:
        >>> import numpy as np, convscope as cs
        >>> spec = cs.VideoInput(shape=(3, 8, 32, 32), mean=(0.43, 0.39, 0.38), std=(0.23, 0.22, 0.22))
        >>> spec.prepare_array(np.zeros((3, 20, 48, 64), np.uint8)).tensor.shape
        torch.Size([3, 8, 32, 32])
    """

    fit: Literal["crop", "stretch"] = "crop"

    axes: ClassVar[tuple[str, ...]] = ("time", "height", "width")
    kind: ClassVar[str] = "video"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fit not in ("crop", "stretch"):
            raise InputError(f"fit must be crop or stretch, got {self.fit!r}")

    def _on_grid(self, raw: RawInput) -> tuple[Numbers, Grid, str]:
        values, remark = raw.values, ""
        grid = Grid(raw.spacing, channel_names=raw.channel_names)
        if self.shape is not None:
            frames, count = self.shape[1], values.shape[1]
            if count < frames:
                remark = Fact(
                    "the clip has {count} frames, and the network takes {frames}: some are repeated",
                    count=count,
                    frames=frames,
                )
            chosen = np.linspace(0, count - 1, frames).round().astype(int)
            values = values[:, chosen]
            values, _ = _fitted(values, (frames, *self.shape[2:]), Grid(), self.fit)
            if raw.spacing:
                grid = Grid((raw.spacing[0] * count / frames, 1.0, 1.0), "")
        return self._scaled(values / np.float32(255)), grid, remark

    def picture(self, tensor: Tensor) -> None:
        """None: a clip is no single picture."""


def _fitted(values: Numbers, extent: Sequence[int], grid: Grid, fit: str) -> tuple[Numbers, Grid]:
    """Images (channels, …, height, width) of this extent; axes before the last two keep their length."""
    height, width = extent[-2:]
    if fit == "crop":
        scale = max(height / values.shape[-2], width / values.shape[-1])
        height, width = (
            max(new, round(size * scale)) for new, size in zip(extent[-2:], values.shape[-2:], strict=True)
        )
    values, grid = resized(values, (*values.shape[1:-2], height, width), grid)
    return cropped_or_padded(values, extent, grid)
