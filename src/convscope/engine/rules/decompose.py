"""Softmax, norms and attention as the simpler operations that they are made of, each of which has a rule.

Called with a mode on, so that it sees the parts.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.ops.call import Call


class NoParts(Exception):
    """This form of an operation is not taken apart: it has no rule."""


_MULTI_HEAD = """query key value embed_dim_to_check num_heads in_proj_weight in_proj_bias bias_k bias_v add_zero_attn
    dropout_p out_proj_weight out_proj_bias training key_padding_mask need_weights attn_mask use_separate_proj_weight
    q_proj_weight k_proj_weight v_proj_weight static_k static_v average_attn_weights is_causal"""
"""The parameters of ``F.multi_head_attention_forward``, in order."""


def softmax(call: Call, *, shift: Tensor) -> Tensor:
    """exp(x) / Σ exp(x), with x shifted against overflow."""
    x: Tensor = call.argument(0, "input")
    axis = call.argument(1, "dim")
    raised = (x - shift).exp()
    shares = raised * raised.sum(axis, keepdim=True).reciprocal()
    return shares.log() if call.name == "log_softmax" else shares


def logsumexp(call: Call) -> Tensor:
    """m + log Σ exp(x - m), m the largest x, which guards against overflow."""
    x: Tensor = call.argument(0, "input")
    axis, keep = call.argument(1, "dim"), bool(call.argument(2, "keepdim", False))
    largest = x.amax(axis, keepdim=True)
    total = (x - largest).exp().sum(axis, keepdim=True).log() + largest
    return total if keep else total.sum(axis)


def norm(call: Call, *, spread_is_constant: bool) -> Tensor:
    """A layer, group, instance, RMS or plain norm: what is subtracted, what it is divided by, scale and shift.

    Args:
        spread_is_constant: hold the spread for constant, as relevance propagation does.
    """
    x: Tensor = call.argument(0, "input")
    if call.name == "normalize":
        order, axis, floor = call.argument(1, "p", 2.0), call.argument(2, "dim", 1), call.argument(3, "eps", 1e-12)
        size = x.abs().pow(order).sum(axis, keepdim=True).pow(1 / order).clamp_min(floor)
        return x * (size.detach() if spread_is_constant else size).reciprocal()
    if call.name == "local_response_norm":
        raw = x * x
        around = raw.detach() if spread_is_constant else raw
        size = call.argument(1, "size")
        padded = F.pad(around.flatten(2)[:, None], (0, 0, size // 2, (size - 1) // 2))
        mean = F.avg_pool2d(padded, (size, 1), stride=1)[:, 0].reshape(x.shape)
        strength, power, offset = (
            call.argument(i, n, d) for i, n, d in ((2, "alpha", 1e-4), (3, "beta", 0.75), (4, "k", 1.0))
        )
        damping: Tensor = (mean * strength + offset).pow(-power)
        return x * damping
    grouped, axes, weight, bias, floor = _normed(call, x)
    centred = grouped if call.name == "rms_norm" else grouped - grouped.mean(axes, keepdim=True)
    around = centred.detach() if spread_is_constant else centred
    variance = (around * around).mean(axes, keepdim=True)
    out = (centred * (variance + floor).rsqrt()).reshape(x.shape)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def attention(call: Call) -> Tensor:
    """softmax(q·kᵀ / √d + mask) · v."""
    q, k, v = (call.argument(i, n) for i, n in enumerate(("query", "key", "value")))
    mask, scale = call.argument(3, "attn_mask"), call.kwargs.get("scale")
    if call.kwargs.get("enable_gqa"):
        k, v = (t.repeat_interleave(q.shape[-3] // t.shape[-3], -3) for t in (k, v))
    likeness = (q * (scale if scale is not None else 1 / math.sqrt(q.shape[-1]))) @ k.transpose(-2, -1)
    if call.argument(5, "is_causal", False):
        allowed = torch.ones(likeness.shape[-2:], dtype=torch.bool, device=q.device).tril()
        likeness = likeness.masked_fill(~allowed, -math.inf)
    if mask is not None:
        likeness = likeness.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else likeness + mask
    mixed: Tensor = F.softmax(likeness, -1) @ v
    return mixed


def multi_head(call: Call) -> tuple[Tensor, Tensor | None]:
    """What ``nn.MultiheadAttention`` computes, of linear maps and attention; sequences come first, then the batch."""
    given: dict[str, Any] = {**dict(zip(_MULTI_HEAD.split(), call.args, strict=False)), **call.kwargs}
    odd = [n for n in ("bias_k", "bias_v", "static_k", "static_v", "key_padding_mask") if given.get(n) is not None]
    if odd or given.get("add_zero_attn") or given["query"].ndim != 3:
        raise NoParts
    heads, biases = given["num_heads"], given.get("in_proj_bias")
    if given.get("use_separate_proj_weight"):
        kernels = [given[f"{n}_proj_weight"] for n in "qkv"]
    else:
        kernels = list(given["in_proj_weight"].chunk(3))
    shifts = [None] * 3 if biases is None else list(biases.chunk(3))
    sources = (given["query"], given["key"], given["value"])
    q, k, v = (
        _in_heads(F.linear(t.transpose(0, 1), w, b), heads) for t, w, b in zip(sources, kernels, shifts, strict=True)
    )
    mask = given.get("attn_mask")
    if mask is not None and mask.ndim == 3:
        mask = mask.view(-1, heads, *mask.shape[1:])
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    out = F.linear(mixed.transpose(1, 2).flatten(2), given["out_proj_weight"], given["out_proj_bias"])
    weights = None
    if given.get("need_weights", True):
        likeness = (q.detach() * (1 / math.sqrt(q.shape[-1]))) @ k.detach().transpose(-2, -1)
        weights = torch.softmax(likeness if mask is None else likeness + mask, -1)
        weights = weights.mean(1) if given.get("average_attn_weights", True) else weights
    return out.transpose(0, 1), weights


def compound(call: Call) -> Any:
    """What several operations in one are made of."""
    if call.name in _PRODUCTS:
        added, first, second = (call.argument(i, n) for i, n in enumerate(("input", *_PRODUCTS[call.name])))
        product: Tensor = first @ second
        product = product.sum(0) if call.name == "addbmm" else product
        total: Tensor = _times(product, call.kwargs.get("alpha", 1)) + _times(added, call.kwargs.get("beta", 1))
        return total
    if call.name in ("addcmul", "addcdiv"):
        added, first, second = (call.argument(i, n) for i, n in enumerate(("input", "tensor1", "tensor2")))
        change: Tensor = first * second if call.name == "addcmul" else first / second
        changed: Tensor = _times(change, call.kwargs.get("value", 1)) + added
        return changed
    if call.name == "lerp":
        start, end, weight = (call.argument(i, n) for i, n in enumerate(("input", "end", "weight")))
        between: Tensor = start * (1 - weight) + end * weight
        return between
    if call.name == "glu":
        x: Tensor = call.argument(0, "input")
        signal, gate = x.chunk(2, call.argument(1, "dim", -1))
        return signal * gate.sigmoid()
    if call.name == "cosine_similarity":
        first, second = call.argument(0, "x1"), call.argument(1, "x2")
        axis, floor = call.argument(2, "dim", 1), call.argument(3, "eps", 1e-8)
        lengths = ((x * x).sum(axis, keepdim=True).sqrt().clamp_min(floor) for x in (first, second))
        directions = [x / length for x, length in zip((first, second), lengths, strict=True)]
        return (directions[0] * directions[1]).sum(axis)
    return _power_pool(call) if call.name.startswith("lp_pool") else _spread(call)


def _power_pool(call: Call) -> Tensor:
    """(Σ xᵖ)^(1/p) over windows."""
    axes = int(call.name[-2])
    x, power, size = call.argument(0, "input"), float(call.argument(1, "norm_type")), call.argument(2, "kernel_size")
    sizes = [int(n) for n in size] if isinstance(size, (list, tuple)) else [int(size)] * axes
    stride, ceil = call.argument(3, "stride"), bool(call.argument(4, "ceil_mode", False))
    stride = sizes if stride is None else stride
    if math.isinf(power):
        extreme = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
        largest: Tensor = extreme(x.abs() * math.copysign(1, power), sizes, stride, 0, 1, ceil)
        return largest * math.copysign(1, power)
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]
    mean: Tensor = pool(x.pow(power), sizes, stride, 0, ceil)
    return (mean * math.prod(sizes)).pow(1 / power)


_PRODUCTS = {
    "addmm": ("mat1", "mat2"),
    "addbmm": ("batch1", "batch2"),
    "baddbmm": ("batch1", "batch2"),
    "addmv": ("mat", "vec"),
}
"""A product with something added, and what its factors are called."""


def _times(tensor: Tensor, number: float) -> Tensor:
    return tensor if number == 1 else tensor * number


def _spread(call: Call) -> Tensor:
    """A norm, a standard deviation or a variance, of squares."""
    x: Tensor = call.argument(0, "input")
    if call.name in ("std", "var"):
        first = call.argument(1, "dim")
        axes = None if isinstance(first, bool) else first
        unbiased = call.kwargs.get("unbiased", first if isinstance(first, bool) else True)
        rest = [a for a in call.args[2:] if isinstance(a, bool)]
        keep = call.kwargs.get("keepdim", rest[-1] if rest else False)
        unbiased = rest[0] if len(rest) > 1 else unbiased
        less = call.kwargs.get("correction", int(unbiased))
        centred = x - x.mean(axes, keepdim=True)
        squares = (centred * centred).sum(axes, keepdim=keep)
        variance = squares / (x.numel() / squares.numel() - (1 if less is None else less))
        return variance.sqrt() if call.name == "std" else variance
    order = call.argument(1, "p" if call.name == "norm" else "ord", 2)
    axes, keep = call.argument(2, "dim"), bool(call.argument(3, "keepdim", False))
    of_matrices = call.name == "linalg_norm" and not isinstance(axes, int)  # perhaps
    if order in (None, "fro") or (order == 2 and not of_matrices):
        return (x * x).sum(axes, keepdim=keep).sqrt()
    if of_matrices:
        raise NoParts
    if order in (math.inf, -math.inf):
        extreme = torch.amax if order > 0 else torch.amin
        return extreme(x.abs(), () if axes is None else axes, keepdim=keep)
    if not isinstance(order, (int, float)) or order <= 0:
        raise NoParts
    return x.abs().pow(order).sum(axes, keepdim=keep).pow(1 / order)


def _in_heads(t: Tensor, heads: int) -> Tensor:
    return t.reshape(*t.shape[:2], heads, -1).transpose(1, 2)


def _normed(call: Call, x: Tensor) -> tuple[Tensor, list[int], Tensor | None, Tensor | None, float]:
    """The input as it is grouped, the axes of a group, scale and shift shaped to the input, and the floor."""
    trailing = [1] * (x.ndim - 2)
    if call.name in ("layer_norm", "rms_norm"):
        axes = [-1 - i for i in range(len(call.argument(1, "normalized_shape")))]
        bias = call.argument(3, "bias") if call.name == "layer_norm" else None
        floor = call.argument(4, "eps", 1e-5) if call.name == "layer_norm" else call.argument(3, "eps")
        floor = torch.finfo(x.dtype).eps if floor is None else floor
        return x, axes, call.argument(2, "weight"), bias, floor
    if call.name == "group_norm":
        grouped = x.view(len(x), call.argument(1, "num_groups"), -1, *x.shape[2:])
        weight, bias, floor = (
            call.argument(i, n, d) for i, n, d in ((2, "weight", None), (3, "bias", None), (4, "eps", 1e-5))
        )
    else:
        grouped = x.unsqueeze(2)
        weight, bias, floor = (
            call.argument(i, n, d) for i, n, d in ((3, "weight", None), (4, "bias", None), (7, "eps", 1e-5))
        )
    shaped = [None if t is None else t.view(-1, *trailing) for t in (weight, bias)]
    return grouped, list(range(2, grouped.ndim)), shaped[0], shaped[1], floor
