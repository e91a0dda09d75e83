"""Softmax, norms, attention and other compound operations, computed by simpler operations that each have a rule.

Call these functions with the rule mode active, so that it intercepts the simpler operations.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.ops.call import Call


class NotDecomposable(Exception):
    """This form of an operation cannot be decomposed, so it has no rule."""


_MULTI_HEAD = """query key value embed_dim_to_check num_heads in_proj_weight in_proj_bias bias_k bias_v add_zero_attn
    dropout_p out_proj_weight out_proj_bias training key_padding_mask need_weights attn_mask use_separate_proj_weight
    q_proj_weight k_proj_weight v_proj_weight static_k static_v average_attn_weights is_causal"""
"""The parameters of ``F.multi_head_attention_forward``, in order."""


def softmax(call: Call, *, shift: Tensor) -> Tensor:
    """exp(x) / Σ exp(x), with x reduced by ``shift`` to avoid overflow."""
    x: Tensor = call.argument(0, "input")
    axis = call.argument(1, "dim")
    exponentials = (x - shift).exp()
    probabilities = exponentials * exponentials.sum(axis, keepdim=True).reciprocal()
    return probabilities.log() if call.name == "log_softmax" else probabilities


def logsumexp(call: Call) -> Tensor:
    """m + log Σ exp(x - m), where m is the largest x, to avoid overflow."""
    x: Tensor = call.argument(0, "input")
    axis, keepdim = call.argument(1, "dim"), bool(call.argument(2, "keepdim", False))
    largest = x.amax(axis, keepdim=True)
    total = (x - largest).exp().sum(axis, keepdim=True).log() + largest
    return total if keepdim else total.sum(axis)


def norm(call: Call, *, spread_is_constant: bool) -> Tensor:
    """A layer, group, instance, RMS, vector or local response norm: subtract the mean, divide by the spread, rescale.

    Args:
        spread_is_constant: treat the spread (the divisor) as a constant, as relevance propagation does.
    """
    x: Tensor = call.argument(0, "input")
    if call.name == "normalize":
        order, axis, eps = call.argument(1, "p", 2.0), call.argument(2, "dim", 1), call.argument(3, "eps", 1e-12)
        length = x.abs().pow(order).sum(axis, keepdim=True).pow(1 / order).clamp_min(eps)
        return x * (length.detach() if spread_is_constant else length).reciprocal()
    if call.name == "local_response_norm":
        return _local_response_norm(call, x, spread_is_constant=spread_is_constant)
    grouped, axes, weight, bias, eps = _normalization_groups(call, x)
    centred = grouped if call.name == "rms_norm" else grouped - grouped.mean(axes, keepdim=True)
    deviation = centred.detach() if spread_is_constant else centred
    variance = (deviation * deviation).mean(axes, keepdim=True)
    out = (centred * (variance + eps).rsqrt()).reshape(x.shape)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def _local_response_norm(call: Call, x: Tensor, *, spread_is_constant: bool) -> Tensor:
    """x · (k + α · mean of x² over neighbouring channels)^-β."""
    squares = x * x
    squares = squares.detach() if spread_is_constant else squares
    size = call.argument(1, "size")
    padded = F.pad(squares.flatten(2)[:, None], (0, 0, size // 2, (size - 1) // 2))
    mean = F.avg_pool2d(padded, (size, 1), stride=1)[:, 0].reshape(x.shape)
    alpha, beta, k = (call.argument(i, n, d) for i, n, d in ((2, "alpha", 1e-4), (3, "beta", 0.75), (4, "k", 1.0)))
    factor: Tensor = (mean * alpha + k).pow(-beta)
    return x * factor


def attention(call: Call) -> Tensor:
    """softmax(q·kᵀ / √d + mask) · v."""
    q, k, v = (call.argument(i, n) for i, n in enumerate(("query", "key", "value")))
    mask, scale = call.argument(3, "attn_mask"), call.kwargs.get("scale")
    if call.kwargs.get("enable_gqa"):
        k, v = (t.repeat_interleave(q.shape[-3] // t.shape[-3], -3) for t in (k, v))
    logits = (q * (scale if scale is not None else 1 / math.sqrt(q.shape[-1]))) @ k.transpose(-2, -1)
    if call.argument(5, "is_causal", False):
        allowed = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).tril()
        logits = logits.masked_fill(~allowed, -math.inf)
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask
    out: Tensor = F.softmax(logits, -1) @ v
    return out


def multi_head(call: Call) -> tuple[Tensor, Tensor | None]:
    """``nn.MultiheadAttention`` as linear maps and attention; the axes of the input are (sequence, batch, features)."""
    options: dict[str, Any] = {**dict(zip(_MULTI_HEAD.split(), call.args, strict=False)), **call.kwargs}
    unsupported = ("bias_k", "bias_v", "static_k", "static_v", "key_padding_mask")
    if (
        any(options.get(name) is not None for name in unsupported)
        or options.get("add_zero_attn")
        or options["query"].ndim != 3
    ):
        raise NotDecomposable
    heads, in_bias = options["num_heads"], options.get("in_proj_bias")
    if options.get("use_separate_proj_weight"):
        weights = [options[f"{name}_proj_weight"] for name in "qkv"]
    else:
        weights = list(options["in_proj_weight"].chunk(3))
    biases = [None] * 3 if in_bias is None else list(in_bias.chunk(3))
    sources = (options["query"], options["key"], options["value"])
    q, k, v = (
        _split_heads(F.linear(t.transpose(0, 1), w, b), heads) for t, w, b in zip(sources, weights, biases, strict=True)
    )
    mask = options.get("attn_mask")
    if mask is not None and mask.ndim == 3:
        mask = mask.view(-1, heads, *mask.shape[1:])
    values = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    out = F.linear(values.transpose(1, 2).flatten(2), options["out_proj_weight"], options["out_proj_bias"])
    attention_weights = None
    if options.get("need_weights", True):
        logits = (q.detach() * (1 / math.sqrt(q.shape[-1]))) @ k.detach().transpose(-2, -1)
        attention_weights = torch.softmax(logits if mask is None else logits + mask, -1)
        if options.get("average_attn_weights", True):
            attention_weights = attention_weights.mean(1)
    return out.transpose(0, 1), attention_weights


def compound(call: Call) -> Any:
    """An operation that stands for several others, such as ``addmm``, computed by these."""
    if call.name in _PRODUCTS:
        added, first, second = (call.argument(i, n) for i, n in enumerate(("input", *_PRODUCTS[call.name])))
        factors = call.kwargs.get("alpha", 1), call.kwargs.get("beta", 1)
        if call.name == "addmm" and added.ndim == 1 and factors == (1, 1):  # what torch.export makes of a linear layer
            return F.linear(first, second.t(), added)
        product: Tensor = first @ second
        product = product.sum(0) if call.name == "addbmm" else product
        total: Tensor = _times(product, factors[0]) + _times(added, factors[1])
        return total
    if call.name in ("addcmul", "addcdiv"):
        added, first, second = (call.argument(i, n) for i, n in enumerate(("input", "tensor1", "tensor2")))
        term: Tensor = first * second if call.name == "addcmul" else first / second
        result: Tensor = _times(term, call.kwargs.get("value", 1)) + added
        return result
    if call.name == "lerp":
        start, end, weight = (call.argument(i, n) for i, n in enumerate(("input", "end", "weight")))
        interpolated: Tensor = start * (1 - weight) + end * weight
        return interpolated
    if call.name == "glu":
        x: Tensor = call.argument(0, "input")
        signal, gate = x.chunk(2, call.argument(1, "dim", -1))
        return signal * gate.sigmoid()
    if call.name == "cosine_similarity":
        first, second = call.argument(0, "x1"), call.argument(1, "x2")
        axis, eps = call.argument(2, "dim", 1), call.argument(3, "eps", 1e-8)
        lengths = ((x * x).sum(axis, keepdim=True).sqrt().clamp_min(eps) for x in (first, second))
        directions = [x / length for x, length in zip((first, second), lengths, strict=True)]
        return (directions[0] * directions[1]).sum(axis)
    if call.name.startswith("lp_pool"):
        return _power_pool(call)
    return _deviation(call) if call.name in ("std", "var") else _vector_norm(call)


def _power_pool(call: Call) -> Tensor:
    """(Σ xᵖ)^(1/p) over windows."""
    axes = int(call.name[-2])
    x, power, size = call.argument(0, "input"), float(call.argument(1, "norm_type")), call.argument(2, "kernel_size")
    kernel = [int(n) for n in size] if isinstance(size, (list, tuple)) else [int(size)] * axes
    stride, ceil_mode = call.argument(3, "stride"), bool(call.argument(4, "ceil_mode", False))
    stride = kernel if stride is None else stride
    if math.isinf(power):
        max_pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
        largest: Tensor = max_pool(x.abs() * math.copysign(1, power), kernel, stride, 0, 1, ceil_mode)
        return largest * math.copysign(1, power)
    avg_pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]
    mean: Tensor = avg_pool(x.pow(power), kernel, stride, 0, ceil_mode)
    return (mean * math.prod(kernel)).pow(1 / power)


_PRODUCTS = {
    "addmm": ("mat1", "mat2"),
    "addbmm": ("batch1", "batch2"),
    "baddbmm": ("batch1", "batch2"),
    "addmv": ("mat", "vec"),
}
"""Matrix products with an added term, and the parameter names of their factors."""


def _times(tensor: Tensor, number: float) -> Tensor:
    return tensor if number == 1 else tensor * number


def _deviation(call: Call) -> Tensor:
    """``std`` or ``var``, from squared deviations."""
    x: Tensor = call.argument(0, "input")
    second = call.argument(1, "dim")  # ``dim`` or, as in ``x.var(False)``, ``unbiased``
    axes = None if isinstance(second, bool) else second
    unbiased = call.kwargs.get("unbiased", second if isinstance(second, bool) else True)
    flags = [argument for argument in call.args[2:] if isinstance(argument, bool)]
    keepdim = call.kwargs.get("keepdim", flags[-1] if flags else False)
    unbiased = flags[0] if len(flags) > 1 else unbiased
    correction = call.kwargs.get("correction", int(unbiased))
    centred = x - x.mean(axes, keepdim=True)
    squares = (centred * centred).sum(axes, keepdim=keepdim)
    variance = squares / (x.numel() / squares.numel() - (1 if correction is None else correction))
    return variance.sqrt() if call.name == "std" else variance


def _vector_norm(call: Call) -> Tensor:
    """(Σ |x|ᵖ)^(1/p) along some axes or over all."""
    x: Tensor = call.argument(0, "input")
    order = call.argument(1, "p" if call.name == "norm" else "ord", 2)
    axes, keepdim = call.argument(2, "dim"), bool(call.argument(3, "keepdim", False))
    maybe_matrix_norm = call.name == "linalg_norm" and not isinstance(axes, int)
    if order in (None, "fro") or (order == 2 and not maybe_matrix_norm):
        return (x * x).sum(axes, keepdim=keepdim).sqrt()
    if maybe_matrix_norm:
        raise NotDecomposable
    if order in (math.inf, -math.inf):
        extremum = torch.amax if order > 0 else torch.amin
        return extremum(x.abs(), () if axes is None else axes, keepdim=keepdim)
    if not isinstance(order, (int, float)) or order <= 0:
        raise NotDecomposable
    return x.abs().pow(order).sum(axes, keepdim=keepdim).pow(1 / order)


def _split_heads(t: Tensor, heads: int) -> Tensor:
    return t.reshape(*t.shape[:2], heads, -1).transpose(1, 2)


def _normalization_groups(call: Call, x: Tensor) -> tuple[Tensor, list[int], Tensor | None, Tensor | None, float]:
    """The input reshaped into groups, the axes of a group, scale and shift shaped to the input, and ε."""
    if call.name in ("layer_norm", "rms_norm"):
        axes = [-1 - i for i in range(len(call.argument(1, "normalized_shape")))]
        bias = call.argument(3, "bias") if call.name == "layer_norm" else None
        eps = call.argument(4, "eps", 1e-5) if call.name == "layer_norm" else call.argument(3, "eps")
        eps = torch.finfo(x.dtype).eps if eps is None else eps
        return x, axes, call.argument(2, "weight"), bias, eps
    if call.name == "group_norm":
        grouped = x.view(len(x), call.argument(1, "num_groups"), -1, *x.shape[2:])
        weight, bias, eps = (
            call.argument(i, n, d) for i, n, d in ((2, "weight", None), (3, "bias", None), (4, "eps", 1e-5))
        )
    else:
        grouped = x.unsqueeze(2)
        weight, bias, eps = (
            call.argument(i, n, d) for i, n, d in ((3, "weight", None), (4, "bias", None), (7, "eps", 1e-5))
        )
    weight, bias = (None if t is None else t.view(-1, *[1] * (x.ndim - 2)) for t in (weight, bias))
    return grouped, list(range(2, grouped.ndim)), weight, bias, eps
