"""Tensors stored in an ONNX file: checked against their size before they are read, also those in files beside it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from convscope.errors import SAVE_AGAIN, LoadError, brief_reason

if TYPE_CHECKING:
    import onnx

ELEMENT_TYPES: Mapping[int, torch.dtype] = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 4: torch.uint16, 5: torch.int16, 6: torch.int32, 7: torch.int64,
    9: torch.bool, 10: torch.float16, 11: torch.float64, 12: torch.uint32, 13: torch.uint64, 14: torch.complex64,
    15: torch.complex128, 16: torch.bfloat16,
}  # fmt: skip
"""By the number of an element type in ONNX, the type in PyTorch."""

STRING_TYPE = 8
_EXPANSION = 64
"""A tensor may be this many times as large as the bytes that store it: short lists are widened, none is blown up."""


def torch_dtype(element_type: int, place: str) -> torch.dtype:
    """The type in PyTorch.

    Raises:
        LoadError: PyTorch has no such type (texts, four-bit integers, eight-bit floating-point numbers).
    """
    from convscope.loaders.onnx.operators.translation import UnsupportedOperator

    if element_type not in ELEMENT_TYPES:
        raise UnsupportedOperator(f"{place} with elements of type {_type_name(element_type)}")
    return ELEMENT_TYPES[element_type]


def _type_name(element_type: int) -> str:
    import onnx

    names = {number: name for name, number in onnx.TensorProto.DataType.items()}
    return str(names.get(element_type, element_type)).lower()


def read_tensor(stored: "onnx.TensorProto", folder: Path) -> Tensor:
    """A stored tensor.

    Args:
        stored: the tensor in the file.
        folder: the folder of the file, which holds external data.

    Raises:
        LoadError: its data is missing, does not fit its shape, or lies outside the folder.
    """
    from onnx import TensorProto, numpy_helper

    name = stored.name or "a constant"
    dtype = torch_dtype(stored.data_type, f"the tensor {name!r}")
    shape, itemsize = tuple(stored.dims), dtype.itemsize
    if any(extent < 0 for extent in shape):
        raise LoadError(f"the tensor {name!r} has the impossible shape {shape}")
    elements = math.prod(shape)
    if stored.data_location == TensorProto.EXTERNAL:
        return _from_bytes(_external_bytes(stored, folder, elements * itemsize), dtype, shape)
    if stored.HasField("raw_data"):
        data = stored.raw_data  # a copy
        if len(data) != elements * itemsize:
            raise LoadError(
                f"the tensor {name!r} of shape {shape} needs {elements * itemsize:,} bytes, but "
                f"{len(data):,} are stored"
            )
        return _from_bytes(data, dtype, shape)
    if elements * itemsize > _EXPANSION * max(stored.ByteSize(), 64):
        raise LoadError(f"the tensor {name!r} of shape {shape} is larger than what the file stores of it")
    try:
        values = numpy_helper.to_array(stored)
    except (ValueError, TypeError) as error:
        raise LoadError(f"the tensor {name!r} of shape {shape} cannot be read: {brief_reason(error)}") from error
    return _from_bytes(np.ascontiguousarray(values).tobytes(), dtype, shape)


def _from_bytes(data: bytes | bytearray, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """A tensor from little-endian bytes, in memory of its own."""
    if not data:
        return torch.zeros(shape, dtype=dtype, device="cpu")
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)


def check_external_data(stored: "onnx.TensorProto", folder: Path) -> None:
    """Refuse a tensor whose data lies outside the folder of the network's file, or is missing."""
    if stored.external_data or stored.data_location == 1:
        _inside(folder, {entry.key: entry.value for entry in stored.external_data}.get("location", ""))


def _external_bytes(stored: "onnx.TensorProto", folder: Path, size: int) -> bytes:
    """The bytes of a tensor that lies in a file beside the network's own."""
    entries: dict[str, Any] = {entry.key: entry.value for entry in stored.external_data}
    location = str(entries.get("location", ""))
    path = _inside(folder, location)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
    except ValueError:
        raise LoadError(f"the tensor {stored.name!r} gives no number for where it begins in {location!r}") from None
    if offset < 0 or length != size or offset + length > path.stat().st_size:
        raise LoadError(
            f"the tensor {stored.name!r} needs {size:,} bytes from {offset:,} on in {location!r}, which has "
            f"{path.stat().st_size:,} bytes and is said to store {length:,}: {SAVE_AGAIN}"
        )
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _inside(folder: Path, location: str) -> Path:
    """The file of external data, which must lie in the network's own folder.

    Raises:
        LoadError: it lies elsewhere, or does not exist.
    """
    root = folder.resolve()
    path = (root / location).resolve() if location and "\0" not in location else root
    if path == root or not path.is_relative_to(root):
        raise LoadError(f"external data at {location!r} is refused: it must lie in the folder of the network's file")
    if not path.is_file():
        raise LoadError(f"the file {location!r} with the network's weights is missing beside it")
    return path
