"""How much arithmetic an operation is.

Products of convolutions, linear layers and attention are counted as torch's own counter does, a multiply-add as two.
Norms are counted apart, since no other tool counts them: for each number one subtraction and one product with a scale
that is known beforehand (batch norm in eval mode folds into a·x + b), and where mean and spread are taken from the
numbers themselves, four more for those.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from convscope.engine.graph.kinds import kind, packet


def products(func: Any, args: Any, kwargs: Mapping[str, Any], out: Any) -> int:
    """Floating-point operations of matrix products and convolutions: two for each multiply-add."""
    if "scaled_dot_product" in packet(func):
        return _attention(*args[:3])
    if func.namespace == "quantized":
        return _packed_products(args, out)
    counted = flop_registry.get(func.overloadpacket)
    return int(counted(*args, **kwargs, out_val=out)) if counted else 0


def _packed_products(args: Any, out: Any) -> int:
    """Products with a packed weight: each is counted as in floating point, though the numbers are integers."""
    packed = next((one for one in args if isinstance(one, torch.ScriptObject) and hasattr(one, "unpack")), None)
    if packed is None or not isinstance(out, Tensor):
        return 0
    weight: Tensor = packed.unpack()[0]
    turned = hasattr(packed, "transpose") and bool(packed.transpose())
    meeting = args[0] if turned else out  # a transposed convolution multiplies each number that it is given
    return 2 * int(meeting.numel()) * int(weight[0].numel())


def of_norm(func: Any, args: Any, out: Any) -> int:
    """Floating-point operations of a norm."""
    if not kind(func).endswith(" norm"):
        return 0
    first: Tensor = out[0] if isinstance(out, (tuple, list)) else out
    return (2 if settled(func, args) else 6) * first.numel()


def settled(func: Any, args: Any) -> bool:
    """Whether a norm takes mean and spread from what it has kept, and not from what it is given."""
    if kind(func) != "batch norm":
        return False
    if "no_training" in packet(func):
        return True
    if "no_stats" in str(func):
        return False
    return not bool(args[5])


def _attention(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Two matrix products: queries with keys, and the shares with values."""
    *several, queries, width = query.shape
    heads = 1
    for size in several:
        heads *= size
    return 2 * heads * queries * key.shape[-2] * (width + value.shape[-1])
