"""The number of floating-point operations (FLOPs) of an operation.

Products of convolutions, linear layers and attention are counted as torch's own counter does, a multiply-add as two.
Norms are counted separately, since other tools leave them out: for each value one subtraction and one multiplication
with a scale that is known beforehand (batch norm in eval mode folds into a·x + b), and four more where mean and
variance are computed from the values themselves.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from convscope.engine.graph.aten_operations import base_name, kind


def of_products(func: Any, args: Any, kwargs: Mapping[str, Any], result: Any) -> int:
    """Floating-point operations of matrix products and convolutions: two for each multiply-add."""
    if "scaled_dot_product" in base_name(func):
        return _of_attention(*args[:3])
    if func.namespace == "quantized":
        return _of_packed_product(args, result)
    count = flop_registry.get(func.overloadpacket)
    return int(count(*args, **kwargs, out_val=result)) if count else 0


def _of_packed_product(args: Any, result: Any) -> int:
    """A product with a packed weight, counted as in floating point although the values are integers."""
    packed = next((arg for arg in args if isinstance(arg, torch.ScriptObject) and hasattr(arg, "unpack")), None)
    if packed is None or not isinstance(result, Tensor):
        return 0
    weight: Tensor = packed.unpack()[0]
    transposed = hasattr(packed, "transpose") and bool(packed.transpose())
    multiplied = args[0] if transposed else result  # a transposed convolution multiplies each value of its input
    return 2 * int(multiplied.numel()) * int(weight[0].numel())


def of_norm(func: Any, args: Any, result: Any) -> int:
    """Floating-point operations of a norm."""
    if not kind(func).endswith(" norm"):
        return 0
    output: Tensor = result[0] if isinstance(result, (tuple, list)) else result
    return (2 if uses_running_statistics(func, args) else 6) * output.numel()


def uses_running_statistics(func: Any, args: Any) -> bool:
    """Whether a norm uses stored statistics instead of those of its input."""
    if kind(func) != "batch norm":
        return False
    if "no_training" in base_name(func):
        return True
    if "no_stats" in str(func):
        return False
    return not bool(args[5])


def _of_attention(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Two matrix products: queries with keys, and attention weights with values."""
    *batch_dims, queries, width = query.shape
    heads = 1
    for size in batch_dims:
        heads *= size
    return 2 * heads * queries * key.shape[-2] * (width + value.shape[-1])
