"""The names and categories of operations below autograd, where all spellings of an operation are the same.

Methods, functions, modules and in-place forms of an operation arrive there under one name: ``aten.relu``. Some of them
have a more common name (``addmm`` is the product of a linear layer).
"""

from typing import Any

import torch

VIEWS = frozenset({
    "view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "numpy_T", "unsqueeze",
    "squeeze", "expand", "slice", "select", "split", "split_with_sizes", "unsafe_split", "chunk",
    "unbind", "narrow", "alias",
    "detach", "lift_fresh", "as_strided", "as_strided_", "diagonal",
})  # fmt: skip
"""Operations whose result is a view: no arithmetic and no memory."""

COPIES = frozenset({
    "clone", "_to_copy", "contiguous", "copy_", "flip", "roll", "index", "index_select", "repeat", "gather",
    "unfold", "channel_shuffle", "native_channel_shuffle", "rot90",
})  # fmt: skip
"""Operations that only copy values to other positions."""

_NAMES = {
    "convolution": "convolution",
    "addmm": "linear",
    "mm": "matrix product",
    "bmm": "matrix product",
    "baddbmm": "matrix product",
    "native_batch_norm": "batch norm",
    "cudnn_batch_norm": "batch norm",
    "miopen_batch_norm": "batch norm",
    "native_layer_norm": "layer norm",
    "native_group_norm": "group norm",
    "cat": "concatenation",
    "max_pool2d_with_indices": "max pooling",
    "max_pool3d_with_indices": "max pooling",
    "adaptive_max_pool2d": "max pooling",
    "adaptive_max_pool3d": "max pooling",
    "avg_pool2d": "average pooling",
    "avg_pool3d": "average pooling",
    "hardtanh": "clamp",
    "constant_pad_nd": "padding",
    "reflection_pad2d": "padding",
    "mul": "product",
    "add": "sum",
    "sub": "difference",
    "div": "quotient",
}


_INTEGER_PRODUCTS = {f"conv{axes}": "convolution" for axes in ("", "1d", "2d", "3d")} | {"linear": "linear"}
"""Products in quantised networks, also those with a fused activation (``conv2d_relu``)."""


def base_name(func: Any) -> str:
    """An operation's name without its overload: ``add_`` for ``aten.add_.Tensor``."""
    return str(func.overloadpacket.__name__)


def kind(func: Any) -> str:
    """The operation's common name: ``batch norm``, ``sum``, ``relu``."""
    name = base_name(func)
    plain = name.strip("_")
    if func.namespace == "quantized":
        return f"int8 {_INTEGER_PRODUCTS.get(plain.split('_')[0], plain.replace('_', ' '))}"
    if plain.startswith("quantized_"):
        return f"int8 {plain.removeprefix('quantized_').replace('_', ' ')}"
    if "batch_norm" in plain:
        return "batch norm"
    if "scaled_dot_product" in plain or plain in ("flash_attention_forward", "efficient_attention_forward"):
        return "attention"
    if plain.startswith("adaptive_avg_pool"):
        return "average pooling"
    if plain.startswith("upsample_"):
        return "enlargement"
    return _NAMES.get(plain, plain.replace("_", " "))


def only_moves(func: Any) -> bool:
    """Whether it only rearranges or copies values; such operations are left out of drawings."""
    return base_name(func) in VIEWS or base_name(func) in COPIES


_POINTWISE = frozenset({
    "copy_", "masked_fill", "fill_", "native_dropout", "prelu", "quantize_per_tensor", "quantize_per_channel",
    "dequantize", "_prelu_kernel", "hardswish", "rsub", "log_sigmoid_forward", "rrelu_with_noise",
    "special_expit", "fake_quantize_per_tensor_affine", "tril", "triu", "real", "imag", "complex", "polar",
})  # fmt: skip
"""Elementwise operations that torch does not tag as pointwise."""


def is_pointwise(func: Any) -> bool:
    """Whether each value is computed only from the values at the same index."""
    name = base_name(func)
    if name in _POINTWISE or torch.Tag.pointwise in func.tags:
        return True
    plain = name.removesuffix("_")  # torch tags few of the in-place forms
    if plain.lstrip("_").startswith(("fake_quantize", "fused_moving_avg_obs")):  # in quantisation-aware training
        return True
    functional = getattr(getattr(torch.ops.aten, plain, None), func._overloadname, None)
    return plain in _POINTWISE or (plain != name and functional is not None and torch.Tag.pointwise in functional.tags)


def reads_only_shape(func: Any) -> bool:
    """Whether it reads only the shape and type of its input: ``zeros_like``, ``new_full``."""
    name = base_name(func)
    return name.startswith("new_") or name.endswith("_like")
