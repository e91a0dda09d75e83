"""The arrays and texts within a message ``TensorProto``, as TensorFlow writes them."""

from typing import Any

import numpy as np

_DTYPES = {1: "f4", 2: "f8", 3: "i4", 4: "u1", 5: "i2", 6: "i1", 9: "i8", 10: "?", 17: "u2", 19: "f2"}
_DTYPES |= {22: "u4", 23: "u8"}
"""The numbers of TensorFlow's data types, and the same types in NumPy."""
_FIELDS = {1: "float_val", 2: "double_val", 9: "int64_val", 10: "bool_val", 22: "uint32_val", 23: "uint64_val"}
_BFLOAT16, _HALF = 14, 19


def to_array(tensor: Any) -> "np.ndarray[Any, Any] | None":
    """The numbers of a tensor message; None if it holds texts, or a type that NumPy lacks."""
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    if tensor.dtype == _BFLOAT16 and tensor.tensor_content:
        bits = np.frombuffer(tensor.tensor_content, "<u2").astype(np.uint32) << 16
        return _shaped(bits.view(np.float32), shape)
    if tensor.dtype not in _DTYPES:
        return None
    dtype = np.dtype(_DTYPES[tensor.dtype]).newbyteorder("<")
    if tensor.tensor_content:
        if len(tensor.tensor_content) % dtype.itemsize:
            return None
        return _shaped(np.frombuffer(tensor.tensor_content, dtype), shape)
    if tensor.dtype == _HALF:
        return _shaped(np.array(tensor.half_val, np.uint16).view(np.float16), shape)
    return _shaped(np.array(getattr(tensor, _FIELDS.get(tensor.dtype, "int_val")), dtype), shape)


def to_texts(tensor: Any) -> list[bytes]:
    """The texts of a tensor message, also pictures, which are texts of bytes."""
    return list(tensor.string_val)


def _shaped(values: "np.ndarray[Any, Any]", shape: list[int]) -> "np.ndarray[Any, Any] | None":
    """The values in their shape; a single value stands for all of them, as in TensorFlow."""
    count = int(np.prod(shape, dtype=np.int64))
    if values.size == 1 and count > 1 and count <= 1 << 24:
        return np.full(shape, values[0])
    return values.reshape(shape) if values.size == count else None
