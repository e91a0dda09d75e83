"""The conversion of paths, Pillow images, arrays and tensors to a prepared batch."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from convscope.engine.inputs.grid import Grid, Sample, joined_remarks
from convscope.engine.inputs.image_io import apply_orientation, check_size
from convscope.engine.inputs.raw_input import RawInput
from convscope.engine.inputs.specs import ImageInput, Images, InputSpec, TensorInput
from convscope.errors import InputError
from convscope.values.facts import Fact


def read_images(images: Any, spec: InputSpec, *, device: torch.device, dtype: torch.dtype) -> Images:
    """Prepare images for a network.

    Args:
        images: one image, a list of images, or a prepared tensor, (C, …) for one or (N, C, …) for a batch.
        spec: the input specification of the network.
    """
    images = spec.as_inputs(images)
    single = not isinstance(images, (list, tuple))
    samples: list[Sample] = []
    members: list[Any] = []
    if isinstance(images, Tensor):
        tensor, single = _with_batch_axis(images, spec)
        names: tuple[str, ...] = tuple("tensor" if single else f"tensor[{i}]" for i in range(len(tensor)))
    elif isinstance(images, np.ndarray) and images.ndim == spec.batch_ndim:
        return read_images(list(images), spec, device=device, dtype=dtype)
    else:
        members = [images] if single else list(images)
        if not members:
            raise InputError(f"there is no {'image' if isinstance(spec, ImageInput) else 'input'}: the list is empty")
        if not single:
            _refuse_numbers_in_lists(members, spec)
        samples = [_prepare_one(member, spec) for member in members]
        tensor = torch.stack(_check_equal_shapes([sample.tensor for sample in samples]))
        names = tuple(spec.address_of(member) or _name(member, i) for i, member in enumerate(members))
    _check_finite(tensor, "the input holds")
    prepared = tensor.to(device=device, dtype=dtype)
    if dtype not in (tensor.dtype, torch.float64, torch.float32):
        _check_finite(prepared, f"in the network's {str(dtype).removeprefix('torch.')} the input holds")
    from_tensors = isinstance(images, Tensor) or any(isinstance(member, Tensor) for member in members)
    remark = _unprepared_warning(tensor, spec) if from_tensors else joined_remarks(sample.remark for sample in samples)
    sizes = tuple(sample.size for sample in samples)
    grids = _grids(samples, spec, len(prepared))
    return Images(prepared, names, single, spec, remark=remark, grids=grids, sizes=sizes)


def _grids(samples: list[Sample], spec: InputSpec, count: int) -> tuple[Grid, ...]:
    """The grid of each input; of prepared tensors, what the specification knows of all inputs."""
    if samples or isinstance(spec, ImageInput) or not spec.grid.facts():
        return tuple(sample.grid for sample in samples)
    return (spec.grid,) * count


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


def _prepare_one(image: Any, spec: InputSpec) -> Sample:
    if isinstance(image, Tensor):
        tensor, single = _with_batch_axis(image, spec)
        if not single:
            remedy = "; say what one sample is: input=cs.TensorInput(shape=…)" if isinstance(spec, TensorInput) else ""
            raise InputError(f"a list holds single images, got a batch of shape {tuple(image.shape)} in it{remedy}")
        return Sample(tensor[0])
    if isinstance(image, (str, Path)):
        image = spec.open(image)
    if isinstance(image, RawInput):
        return spec.prepare_raw(image)
    if isinstance(image, np.ndarray):
        return spec.prepare_array(image)
    if not isinstance(image, Pillow.Image):
        raise InputError(f"{_accepted(spec)}, got {type(image).__name__}")
    check_size(image.size, "the image")
    upright = apply_orientation(image)
    return Sample(spec.prepare(upright), size=(upright.height, upright.width))


def _accepted(spec: InputSpec) -> str:
    """What an input may be, for messages."""
    noun = "an image is a path, a Pillow image" if isinstance(spec, ImageInput) else "an input is a path"
    return f"{noun}, an array or a tensor"


def _refuse_numbers_in_lists(members: list[Any], spec: InputSpec) -> None:
    """Refuse nested lists of numbers, whose outer list may be a batch or the channels of one input."""
    rows = [row for row in _rows(members) if all(isinstance(value, (int, float, np.number)) for value in row)]
    lengths = sorted({len(row) for row in rows})
    if not rows:
        return
    if len(lengths) == 1:
        raise InputError(f"{_accepted(spec)}, got numbers in a list: pass np.array(…) of them")
    raise InputError(
        f"{_accepted(spec)}, got rows of {' and '.join(map(str, lengths))} numbers in a list: bring them to one length "
        "and pass an array, or pass each as an array of its own"
    )


def _rows(nested: Any) -> list[Any]:
    """The innermost lists of nested lists."""
    if not isinstance(nested, (list, tuple)) or not nested:
        return []
    inner = [row for member in nested for row in _rows(member)]
    return inner or [nested]


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
    if tensor.ndim < (2 if sample_ndim != 1 else 1) or 0 in tensor.shape:
        raise InputError(f"a prepared tensor is (N, C, …) without empty axes, got shape {tuple(tensor.shape)}")
    if sample_ndim is not None and tensor.ndim == sample_ndim:
        tensor = tensor[None]
    channels = spec.channels if isinstance(spec, ImageInput) else spec.shape[0] if spec.shape else None
    if channels is not None and tensor.shape[1] != channels:
        last = "; channels come first: x.movedim(-1, 1)" if tensor.shape[-1] == channels else ""
        raise InputError(
            f"this model takes {channels} channels, got {tensor.shape[1]} (shape {tuple(tensor.shape)}){last}"
        )
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


def _check_equal_shapes(tensors: list[Tensor]) -> list[Tensor]:
    shapes = {tuple(t.shape) for t in tensors}
    if len(shapes) > 1:
        raise InputError(f"tensors of one call have one shape, got {' and '.join(map(str, sorted(shapes)))}")
    return tensors


def _name(image: Any, index: int) -> str:
    return str(image) if isinstance(image, (str, Path)) else f"{type(image).__name__.lower()}[{index}]"
