"""How operations propagate tags: ``rule(tags, *arguments)`` gives the tag of an operation's output, or None."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from convscope.engine.network.provenance_tags import OUTPUT_KINDS, PROBABILITY_KINDS, Tag, TagStore, is_close

Rule = Callable[..., Tag | None]


@functools.cache
def rule_for(func: Any) -> tuple[Rule | None, bool]:
    """The rule of an operation, if it has one, and whether the operation writes to its inputs."""
    schema = getattr(func, "_schema", None)
    if schema is None:  # a control-flow operator, whose operations are not visible
        return _opaque, False
    name = schema.name.partition("::")[2]
    rule = _RULES.get(name if name.startswith("__") else name.rstrip("_"))
    return rule or (_subset if name.startswith(_SUBSET_PREFIXES) else None), schema.is_mutable


def _same_values(tags: TagStore, tensor: Any, *_: Any, **__: Any) -> Tag | None:
    """The same values with another shape, type or device."""
    return tags.tag_of(tensor) if isinstance(tensor, Tensor) else None


def _subset(tags: TagStore, tensor: Any, *_: Any, **__: Any) -> Tag | None:
    """Some of the values, or means of them: probabilities stay probabilities, a sum over all of them does not."""
    tag = tags.tag_of(tensor) if isinstance(tensor, Tensor) else None
    return tag if tag is not None and tag.kind in OUTPUT_KINDS else None


def _clamped(tags: TagStore, tensor: Tensor, *_: Any, **__: Any) -> Tag | None:
    tag = tags.tag_of(tensor)
    return None if tag.kind in ("plain", "constant") else tag


def _function(kind: str) -> Rule:
    """The rule of an operation that computes a function of this kind."""

    def rule(tags: TagStore, tensor: Tensor, *_: Any, **__: Any) -> Tag:
        return Tag(kind, tags.tag_of(tensor))

    return rule


def _constant(tags: TagStore, *_: Any, **__: Any) -> Tag:
    return tags.new("constant")


def _opaque(tags: TagStore, *_: Any, **__: Any) -> Tag:
    return tags.new("unknown")


def _exp(tags: TagStore, tensor: Tensor, **_: Any) -> Tag:
    tag = tags.tag_of(tensor)
    if tag.is_identity and tag.kind in ("log-softmax", "log-sigmoid"):
        return Tag(tag.kind.removeprefix("log-"), tag.source)
    return Tag("exp", tag)


def _log(tags: TagStore, tensor: Tensor, **_: Any) -> Tag | None:
    tag = tags.tag_of(tensor)
    if tag.is_identity and tag.kind in ("softmax", "sigmoid"):
        return Tag(f"log-{tag.kind}", tag.source)
    summand = tag.source if tag.kind == "sum" and tag.is_identity else None
    return Tag("logsumexp", summand.source) if isinstance(summand, Tag) and summand.kind == "exp" else None


def _sum(tags: TagStore, tensor: Tensor, *_: Any, **__: Any) -> Tag | None:
    tag = tags.tag_of(tensor)
    return Tag("sum", tag) if tag.kind in ("exp", "softmax", "sigmoid") else None


def _norm(tags: TagStore, tensor: Tensor, order: Any = 2, *_: Any, **__: Any) -> Tag | None:
    """The L1 norm is the sum, since the values that `_sum` accepts are never negative."""
    return _sum(tags, tensor) if order == 1 else None


def _mul(tags: TagStore, a: Any, b: Any, **_: Any) -> Tag | None:
    for tensor, factor in ((a, tags.constant_value(b)), (b, tags.constant_value(a))):
        if factor is not None and isinstance(tensor, Tensor):
            return tags.tag_of(tensor).affine(factor)
    operand_tags = [tags.tag_of(operand) for operand in (a, b) if isinstance(operand, Tensor)]
    probabilities = [tag for tag in operand_tags if tag.kind in PROBABILITY_KINDS]
    if len(probabilities) == 2:
        return tags.new("probabilities" if all(tag.is_identity for tag in probabilities) else "mixed")
    weighted = probabilities and (tags.is_constant(a) or tags.is_constant(b))  # otherwise it may be a gate
    return tags.new("mixed") if weighted else None


def _add(tags: TagStore, a: Any, b: Any, *, alpha: float = 1, **_: Any) -> Tag | None:
    if (number := tags.constant_value(b)) is not None and isinstance(a, Tensor):
        return tags.tag_of(a).affine(shift=alpha * number)
    if (number := tags.constant_value(a)) is not None and isinstance(b, Tensor):
        return tags.tag_of(b).affine(float(alpha), number)
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return None
    first, second = tags.tag_of(a), tags.tag_of(b)
    if second.kind == "logsumexp" and (second.scale * alpha, second.shift) == (-1, 0) and second.source == first:
        return Tag("log-softmax", first)
    if first.kind not in OUTPUT_KINDS or second.kind not in OUTPUT_KINDS:
        return None
    if first.kind == second.kind and a.shape == b.shape and alpha > 0 and not first.kind.startswith("log"):
        return tags.new(first.kind, first.scale + alpha * second.scale, first.shift + alpha * second.shift)
    return tags.new("mixed")


def _sub(tags: TagStore, a: Any, b: Any, alpha: float = 1, **_: Any) -> Tag | None:
    return _add(tags, a, b, alpha=-alpha)


def _rsub(tags: TagStore, a: Any, b: Any, alpha: float = 1, **_: Any) -> Tag | None:
    """``b - alpha · a``."""
    number = tags.constant_value(b)
    return tags.tag_of(a).affine(-float(alpha), number) if number is not None else None


def _div(tags: TagStore, a: Any, b: Any, *, rounding_mode: str | None = None, **_: Any) -> Tag | None:
    if rounding_mode is not None:
        return None
    if (number := tags.constant_value(b)) is not None and isinstance(a, Tensor):
        return tags.tag_of(a).affine(1 / number) if number and math.isfinite(number) else None
    if not isinstance(b, Tensor):
        return None
    denominator = tags.tag_of(b)
    if (number := tags.constant_value(a)) is not None:
        inverse = _inverse(denominator)
        return inverse and inverse.affine(number)
    numerator = tags.tag_of(a)
    if denominator.kind == "sum" and denominator.is_identity and denominator.source == numerator:
        return Tag("softmax", numerator)
    if (
        numerator.kind == "exp" and numerator.is_identity and denominator == numerator.affine(shift=1)
    ):  # e^x / (1 + e^x)
        return Tag("sigmoid", numerator.source)
    return tags.new("mixed") if numerator.kind in PROBABILITY_KINDS else None


def _inverse(tag: Tag) -> Tag | None:
    """1 / (1 + e^-x) is a sigmoid."""
    if tag.kind == "exp" and is_close(tag.scale, 1) and is_close(tag.shift, 1) and isinstance(tag.source, Tag):
        return Tag("sigmoid", tag.source.affine(-1))
    return None


def _reciprocal(tags: TagStore, tensor: Tensor, **_: Any) -> Tag | None:
    return _inverse(tags.tag_of(tensor))


def _pow(tags: TagStore, tensor: Any, exponent: Any, **_: Any) -> Tag | None:
    if not isinstance(tensor, Tensor):
        return None
    tag = tags.tag_of(tensor)
    if tags.constant_value(exponent) == -1:
        return _inverse(tag)
    return tags.new("mixed") if tag.kind in PROBABILITY_KINDS else None


def _where(tags: TagStore, _: Any, a: Any, b: Any, **__: Any) -> Tag | None:
    """Either tensor, by position: two ways to compute the same, or some positions masked."""
    operands = [x for x in (a, b) if isinstance(x, Tensor) and tags.constant_value(x) is None]
    operand_tags = [tags.tag_of(operand) for operand in operands]
    kinds = {(tag.kind, tag.scale, tag.shift) for tag in operand_tags}
    if len(kinds) != 1 or operand_tags[0].kind not in OUTPUT_KINDS:
        return None
    return tags.new(operand_tags[0].kind, operand_tags[0].scale, operand_tags[0].shift)


def _neg(tags: TagStore, tensor: Tensor, **_: Any) -> Tag:
    return tags.tag_of(tensor).affine(-1)


def _copy(tags: TagStore, _: Tensor, source: Tensor, *__: Any, **___: Any) -> Tag | None:
    return _subset(tags, source)


def _cat(tags: TagStore, tensors: Sequence[Tensor], dim: int = 0, **_: Any) -> Tag | None:
    """Concatenated tensors: of one kind, a label and its complement, or mixed."""
    operand_tags = [tags.tag_of(tensor) for tensor in tensors]
    if len(operand_tags) == 1:
        return operand_tags[0]
    if not any(tag.kind in OUTPUT_KINDS for tag in operand_tags):
        return None
    if len(operand_tags) == 2 and _are_complements(*operand_tags):
        return tags.new("softmax" if operand_tags[0].kind == "sigmoid" else "log-softmax")
    if len({(tag.kind, tag.scale, tag.shift) for tag in operand_tags}) > 1:
        return tags.new("mixed")
    along_classes = dim % max(1, tensors[0].ndim) == 1
    kind = "probabilities" if operand_tags[0].kind == "softmax" and along_classes else operand_tags[0].kind
    return tags.new(kind, operand_tags[0].scale, operand_tags[0].shift)


def _stack(tags: TagStore, tensors: Sequence[Tensor], *_: Any, **__: Any) -> Tag | None:
    tag = _cat(tags, tensors)
    return None if tag is not None and tag.kind == "plain" else tag


def _are_complements(first: Tag, second: Tag) -> bool:
    """Whether two are the probabilities of a label and of its complement: p and 1 - p, or σ(x) and σ(-x)."""
    if first.kind != second.kind or first.kind not in ("sigmoid", "log-sigmoid"):
        return False
    if first.source == second.source:
        return first.kind == "sigmoid" and (first.is_identity or second.is_identity) and first == second.affine(-1, 1)
    identities = first.is_identity and second.is_identity
    tagged = isinstance(first.source, Tag) and isinstance(second.source, Tag)
    return identities and tagged and first.source == second.source.affine(-1)


_SAME_VALUES = (
    *("view", "_unsafe_view", "_reshape_alias", "reshape", "alias", "detach", "clone", "contiguous", "_to_copy"),
    *("lift", "unsqueeze", "squeeze", "permute", "transpose", "t", "expand", "as_strided"),
    *("dropout", "unflatten", "flatten", "resolve_conj", "resolve_neg", "dequantize", "view_as_real"),
)
_SUBSETS = (
    *("slice", "select", "index_select", "index", "gather", "split", "split_with_sizes", "unbind", "narrow"),
    *("diagonal", "flip", "roll", "mean", "amax", "max", "nan_to_num", "round", "masked_fill", "repeat"),
    *("constant_pad_nd", "sort", "topk", "relu", "quantize_per_tensor", "take", "unsafe_split"),
)
_SUBSET_PREFIXES = (
    *("upsample_", "_upsample_", "avg_pool", "adaptive_avg_pool", "_adaptive_avg_pool"),
    *("max_pool", "mkldnn_adaptive"),
)
"""Operations whose names start so have the rule `_subset`."""

_RULES: dict[str, Rule] = {
    **dict.fromkeys(("_softmax", "softmax", "_safe_softmax", "_masked_softmax"), _function("softmax")),
    **dict.fromkeys(("_log_softmax", "log_softmax"), _function("log-softmax")),
    **dict.fromkeys(("sigmoid", "hardsigmoid", "special_expit"), _function("sigmoid")),
    **dict.fromkeys(("log_sigmoid", "log_sigmoid_forward"), _function("log-sigmoid")),
    "tanh": _function("tanh"),
    "softplus": _function("softplus"),
    "logsumexp": _function("logsumexp"),
    **dict.fromkeys(("lift_fresh", "scalar_tensor", "ones", "zeros", "full", "arange", "eye"), _constant),
    "exp": _exp,
    "log": _log,
    "sum": _sum,
    "linalg_vector_norm": _norm,
    **dict.fromkeys(("mul", "multiply"), _mul),
    **dict.fromkeys(("div", "divide", "true_divide"), _div),
    "add": _add,
    "sub": _sub,
    "rsub": _rsub,
    "reciprocal": _reciprocal,
    "pow": _pow,
    "neg": _neg,
    "where": _where,
    "copy": _copy,
    **dict.fromkeys(("cat", "concat"), _cat),
    "stack": _stack,
    **dict.fromkeys(_SAME_VALUES, _same_values),
    **dict.fromkeys(_SUBSETS, _subset),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "hardtanh"), _clamped),
}
