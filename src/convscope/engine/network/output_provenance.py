"""By which operation a network's output was made: a softmax, a sigmoid, a tanh, or none of these.

One forward is watched below autograd, where all spellings of an operation are one (`nn.Softmax`, `F.softmax`,
``x.exp() / x.exp().sum(1)``, ``1 / (1 + exp(-x))``, scripted ones too). What comes from such an operation carries a
tag, which slices, reshapes, casts, means over places and multiplications by a number hand on, and which everything else
loses. A tag belongs to a place in memory: it ends when that memory is freed or written anew. Operations that do nothing
to tags, nearly all of a network's, are let through without a look.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from convscope.engine.network.output_meaning import Meaning

_ENDS = {"softmax", "sigmoid", "log-softmax", "log-sigmoid", "tanh", "probabilities", "mixed", "unknown"}
"""What an output may turn out to be; other kinds of tags are steps on the way there."""
_PROBABLE = {"softmax", "sigmoid", "probabilities"}
_NEAR = 1e-3
"""How far a factor or a shift may be from one, a hundred or zero: what keeps a logarithm from zero is no shift."""
_ROUNDING = 0.1
"""How far probabilities may add up to more than one: bfloat16 over many classes."""

Place = tuple[Any, ...]


@dataclass(frozen=True)
class Tag:
    """Where numbers come from: ``scale`` · kind(source) + ``shift``; ``plain`` where that is of no interest."""

    kind: str
    source: Any
    scale: float = 1.0
    shift: float = 0.0

    def moved(self, scale: float = 1.0, shift: float = 0.0) -> "Tag":
        """The tag of these numbers times ``scale`` plus ``shift``."""
        tag = replace(self, scale=self.scale * scale, shift=self.shift * scale + shift)
        if tag.kind == "tanh" and _is(abs(tag.scale), 0.5) and _is(tag.shift, 0.5):  # (1 + tanh(x / 2)) / 2
            return Tag("sigmoid", tag.source)
        if tag.kind == "softplus" and tag.scale == -1 and tag.shift == 0:
            return Tag("log-sigmoid", tag.source)
        return tag

    @property
    def unmoved(self) -> bool:
        """Whether these are the very numbers of the operation."""
        return _is(self.scale, 1) and _is(self.shift, 0)


def watchable() -> bool:
    """Whether a forward shows here what it does.

    It does not under another watch at this depth, for many inputs at once, or where rules do operations in other steps.
    """
    if _get_current_dispatch_mode() is not None or torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    return not any(getattr(mode, "takes_apart", False) for mode in _get_current_function_mode_stack())  # type: ignore[no-untyped-call]


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what the operations of one forward make, so that the meaning of its output can be told.

    Args:
        module: the network; its parameters and buffers are the same for every input.
    """

    supports_higher_order_operators = True

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._module = module
        self._tags: dict[int, tuple[StorageWeakRef, dict[Place, Tag]]] = {}
        self._numbers = itertools.count()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        rule, writes = _handling(func)
        tag = None if rule is None else rule(self, *args, **kwargs)
        if tag is not None or writes:
            self._mark(made, tag, anew=writes)
        return made

    def meaning_of(self, output: Tensor) -> Meaning:
        """What the output of the watched forward means."""
        tag = self._known(output) or self._written_through_a_view(output)
        if tag is None or not output.is_floating_point():
            return Meaning()
        if tag.kind in ("exp", "sum", "logsumexp", "softplus"):
            return Meaning("value")
        if tag.kind in ("log-softmax", "log-sigmoid", "tanh"):
            return Meaning(tag.kind if tag.unmoved else "value")
        if tag.kind in _PROBABLE:
            return _probable(tag, output.detach().float())
        return Meaning(tag.kind if tag.kind in _ENDS else "logits")

    def tag_of(self, tensor: Tensor) -> Tag:
        """The tag of a tensor; one that has none gets a plain one."""
        tag = self._known(tensor)
        if tag is None:
            tag = self.new("plain")
            self._mark(tensor, tag, anew=False)
        return tag

    def constant(self, tensor: Any) -> bool:
        """Whether a tensor's numbers are the same for every input."""
        if not isinstance(tensor, Tensor):
            return False
        kind = self.tag_of(tensor).kind
        return kind == "constant" or (kind == "plain" and self._belongs_to_the_network(tensor))

    def number(self, given: Any) -> float | None:
        """A factor or summand that is the same for every input: a number, or a constant tensor of one."""
        if isinstance(given, (int, float)):
            return float(given)
        if not isinstance(given, Tensor) or given.numel() != 1 or given.is_complex():
            return None
        return float(given.detach()) if self.constant(given) else None

    def new(self, kind: str, scale: float = 1.0, shift: float = 0.0) -> Tag:
        """A tag of numbers that come from nowhere that is known, or from several places."""
        return Tag(kind, next(self._numbers), scale, shift)

    def _known(self, tensor: Tensor) -> Tag | None:
        place = _place_of(tensor)
        return None if place is None else self._in_memory(place[0]).get(place)

    def _in_memory(self, memory: int) -> dict[Place, Tag]:
        """The tags in a piece of memory, none where what they belonged to is gone."""
        kept = self._tags.get(memory)
        return {} if kept is None or kept[0].expired() else kept[1]  # type: ignore[no-untyped-call]

    def _mark(self, made: Any, tag: Tag | None, *, anew: bool) -> None:
        """Give what was made a tag; ``anew`` ends what was known of its memory."""
        for tensor in _tensors(made):
            place = _place_of(tensor)
            if place is None:
                continue
            there = {} if anew else self._in_memory(place[0])
            if tag is not None:
                there[place] = tag
            self._tags[place[0]] = (StorageWeakRef(tensor.untyped_storage()), there)  # type: ignore[no-untyped-call]

    def _written_through_a_view(self, tensor: Tensor) -> Tag | None:
        """The tag of a tensor whose memory was written to by another name: the whole of it, or a part."""
        place = _place_of(tensor)
        if place is None:
            return None
        others = {there: tag for there, tag in self._in_memory(place[0]).items() if tag.kind in _ENDS}
        for there, tag in others.items():
            if there[1] == place[1] and math.prod(there[2]) == tensor.numel():
                return tag
        return self.new("mixed") if others else None

    def _belongs_to_the_network(self, tensor: Tensor) -> bool:
        place = _place_of(tensor)
        return place is not None and place[0] in self._own_memory

    @functools.cached_property
    def _own_memory(self) -> set[int]:
        """Where the network's parameters and buffers lie."""
        own = itertools.chain(self._module.parameters(), self._module.buffers())
        return {place[0] for one in own if (place := _place_of(one)) is not None}


@functools.cache
def _handling(func: Any) -> tuple[Callable[..., Tag | None] | None, bool]:
    """The rule of an operation, if it has one, and whether it writes to what it was given."""
    schema = getattr(func, "_schema", None)
    if schema is None:  # control flow that is an operation of its own, and hides what it does
        return _hidden, False
    name = schema.name.partition("::")[2]
    rule = _RULES.get(name if name.startswith("__") else name.rstrip("_"))
    return rule or (_part if name.startswith(_FAMILIES) else None), schema.is_mutable


def _place_of(tensor: Tensor) -> Place | None:
    """Where a tensor's numbers lie in memory; None for tensors without memory of that kind."""
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.is_nested or tensor.layout is not torch.strided:
        return None
    memory = tensor.untyped_storage().data_ptr()
    if memory == 0 or tensor.numel() == 0:
        return None
    strides = tuple(stride for stride, side in zip(tensor.stride(), tensor.shape, strict=True) if side > 1)
    return memory, tensor.storage_offset(), tuple(tensor.shape), strides


def _tensors(given: Any) -> Iterator[Tensor]:
    """All tensors in nested lists and tuples."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, (list, tuple)):
        for one in given:
            yield from _tensors(one)


def _is(number: float, wanted: float) -> bool:
    return abs(number - wanted) <= _NEAR * max(1.0, abs(wanted))


def _probable(tag: Tag, output: Tensor) -> Meaning:
    """Probabilities as they are, in per cent, or of the contrary; what adds up to more ran along another axis."""
    if tag.kind in ("sigmoid", "softmax") and _is(tag.scale, -1) and _is(tag.shift, 1):
        return Meaning("sigmoid" if tag.kind == "sigmoid" else "probabilities")
    scale = next((whole for whole in (1.0, 100.0) if _is(tag.scale, whole)), None)
    if scale is None or not _is(tag.shift, 0):
        return Meaning("value")
    along_classes = output.ndim < 2 or bool((output.sum(1) <= scale * (1 + _ROUNDING)).all())
    if tag.kind == "softmax" and not along_classes:
        return Meaning("value")
    return Meaning(tag.kind, scale)


# What operations do to tags: ``rule(watch, *arguments) -> tag`` of what they make.


def _whole(watch: Watch, tensor: Any, *_: Any, **__: Any) -> Tag | None:
    """The same numbers in another shape, type or place."""
    return watch.tag_of(tensor) if isinstance(tensor, Tensor) else None


def _part(watch: Watch, tensor: Any, *_: Any, **__: Any) -> Tag | None:
    """Some of the numbers, or means of them: probabilities remain what they are, a sum over all of them does not."""
    tag = watch.tag_of(tensor) if isinstance(tensor, Tensor) else None
    return tag if tag is not None and tag.kind in _ENDS else None


def _bounded(watch: Watch, tensor: Tensor, *_: Any, **__: Any) -> Tag | None:
    """Numbers kept within bounds."""
    tag = watch.tag_of(tensor)
    return None if tag.kind in ("plain", "constant") else tag


def _made(kind: str) -> Callable[..., Tag]:
    def rule(watch: Watch, tensor: Tensor, *_: Any, **__: Any) -> Tag:
        return Tag(kind, watch.tag_of(tensor))

    return rule


def _constant(watch: Watch, *_: Any, **__: Any) -> Tag:
    return watch.new("constant")


def _hidden(watch: Watch, *_: Any, **__: Any) -> Tag:
    return watch.new("unknown")


def _exp(watch: Watch, tensor: Tensor, **_: Any) -> Tag:
    tag = watch.tag_of(tensor)
    if tag.unmoved and tag.kind in ("log-softmax", "log-sigmoid"):
        return Tag(tag.kind.removeprefix("log-"), tag.source)
    return Tag("exp", tag)


def _log(watch: Watch, tensor: Tensor, **_: Any) -> Tag | None:
    tag = watch.tag_of(tensor)
    if tag.unmoved and tag.kind in ("softmax", "sigmoid"):
        return Tag(f"log-{tag.kind}", tag.source)
    summed = tag.source if tag.kind == "sum" and tag.unmoved else None
    return Tag("logsumexp", summed.source) if isinstance(summed, Tag) and summed.kind == "exp" else None


def _sum(watch: Watch, tensor: Tensor, *_: Any, **__: Any) -> Tag | None:
    tag = watch.tag_of(tensor)
    return Tag("sum", tag) if tag.kind in ("exp", "softmax", "sigmoid") else None


def _norm(watch: Watch, tensor: Tensor, order: Any = 2, *_: Any, **__: Any) -> Tag | None:
    """The sum of absolute values is the sum of what is never below zero."""
    return _sum(watch, tensor) if order == 1 else None


def _times(watch: Watch, a: Any, b: Any, **_: Any) -> Tag | None:
    for tensor, factor in ((a, watch.number(b)), (b, watch.number(a))):
        if factor is not None and isinstance(tensor, Tensor):
            return watch.tag_of(tensor).moved(factor)
    tags = [watch.tag_of(one) for one in (a, b) if isinstance(one, Tensor)]
    probable = [tag for tag in tags if tag.kind in _PROBABLE]
    if len(probable) == 2:
        return watch.new("probabilities" if all(tag.unmoved for tag in probable) else "mixed")
    weighed = probable and (watch.constant(a) or watch.constant(b))  # else it may be a gate
    return watch.new("mixed") if weighed else None


def _plus(watch: Watch, a: Any, b: Any, *, alpha: float = 1, **_: Any) -> Tag | None:
    if (number := watch.number(b)) is not None and isinstance(a, Tensor):
        return watch.tag_of(a).moved(shift=alpha * number)
    if (number := watch.number(a)) is not None and isinstance(b, Tensor):
        return watch.tag_of(b).moved(float(alpha), number)
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return None
    first, second = watch.tag_of(a), watch.tag_of(b)
    if second.kind == "logsumexp" and (second.scale * alpha, second.shift) == (-1, 0) and second.source == first:
        return Tag("log-softmax", first)
    if first.kind not in _ENDS or second.kind not in _ENDS:
        return None
    if first.kind == second.kind and a.shape == b.shape and alpha > 0 and not first.kind.startswith("log"):
        return watch.new(first.kind, first.scale + alpha * second.scale, first.shift + alpha * second.shift)
    return watch.new("mixed")


def _minus(watch: Watch, a: Any, b: Any, alpha: float = 1, **_: Any) -> Tag | None:
    return _plus(watch, a, b, alpha=-alpha)


def _taken_from(watch: Watch, a: Any, b: Any, alpha: float = 1, **_: Any) -> Tag | None:
    """``b - alpha · a``."""
    number = watch.number(b)
    return watch.tag_of(a).moved(-float(alpha), number) if number is not None else None


def _over(watch: Watch, a: Any, b: Any, *, rounding_mode: str | None = None, **_: Any) -> Tag | None:
    if rounding_mode is not None:
        return None
    if (number := watch.number(b)) is not None and isinstance(a, Tensor):
        return watch.tag_of(a).moved(1 / number) if number and math.isfinite(number) else None
    if not isinstance(b, Tensor):
        return None
    below = watch.tag_of(b)
    if (number := watch.number(a)) is not None:
        inverted = _inverted(below)
        return inverted and inverted.moved(number)
    above = watch.tag_of(a)
    if below.kind == "sum" and below.unmoved and below.source == above:
        return Tag("softmax", above)
    if above.kind == "exp" and above.unmoved and below == above.moved(shift=1):  # e^x / (1 + e^x)
        return Tag("sigmoid", above.source)
    return watch.new("mixed") if above.kind in _PROBABLE else None


def _inverted(tag: Tag) -> Tag | None:
    """1 / (1 + e^-x) is a sigmoid."""
    if tag.kind == "exp" and _is(tag.scale, 1) and _is(tag.shift, 1) and isinstance(tag.source, Tag):
        return Tag("sigmoid", tag.source.moved(-1))
    return None


def _reciprocal(watch: Watch, tensor: Tensor, **_: Any) -> Tag | None:
    return _inverted(watch.tag_of(tensor))


def _power(watch: Watch, tensor: Any, exponent: Any, **_: Any) -> Tag | None:
    if not isinstance(tensor, Tensor):
        return None
    tag = watch.tag_of(tensor)
    if watch.number(exponent) == -1:
        return _inverted(tag)
    return watch.new("mixed") if tag.kind in _PROBABLE else None


def _chosen(watch: Watch, _: Any, a: Any, b: Any, **__: Any) -> Tag | None:
    """One or the other, place by place: two ways to the same thing, or some places left out."""
    tags = [watch.tag_of(one) for one in (a, b) if isinstance(one, Tensor) and watch.number(one) is None]
    kinds = {(tag.kind, tag.scale, tag.shift) for tag in tags}
    if len(kinds) != 1 or tags[0].kind not in _ENDS:
        return None
    return watch.new(tags[0].kind, tags[0].scale, tags[0].shift)


def _negative(watch: Watch, tensor: Tensor, **_: Any) -> Tag:
    return watch.tag_of(tensor).moved(-1)


def _copied(watch: Watch, _: Tensor, source: Tensor, *__: Any, **___: Any) -> Tag | None:
    return _part(watch, source)


def _joined(watch: Watch, tensors: Sequence[Tensor], dim: int = 0, **_: Any) -> Tag | None:
    """Several put side by side: of one kind, of a label and its contrary, or mixed."""
    tags = [watch.tag_of(tensor) for tensor in tensors]
    if len(tags) == 1:
        return tags[0]
    if not any(tag.kind in _ENDS for tag in tags):
        return None
    if len(tags) == 2 and _contrary(*tags):
        return watch.new("softmax" if tags[0].kind == "sigmoid" else "log-softmax")
    if len({(tag.kind, tag.scale, tag.shift) for tag in tags}) > 1:
        return watch.new("mixed")
    along_classes = dim % max(1, tensors[0].ndim) == 1
    kind = "probabilities" if tags[0].kind == "softmax" and along_classes else tags[0].kind
    return watch.new(kind, tags[0].scale, tags[0].shift)


def _stacked(watch: Watch, tensors: Sequence[Tensor], *_: Any, **__: Any) -> Tag | None:
    tag = _joined(watch, tensors)
    return None if tag is not None and tag.kind == "plain" else tag


def _contrary(first: Tag, second: Tag) -> bool:
    """Whether two are the probabilities of a label and of its contrary: p and 1 - p, or σ(x) and σ(-x)."""
    if first.kind != second.kind or first.kind not in ("sigmoid", "log-sigmoid"):
        return False
    if first.source == second.source:
        return first.kind == "sigmoid" and (first.unmoved or second.unmoved) and first == second.moved(-1, 1)
    whole = first.unmoved and second.unmoved and isinstance(first.source, Tag) and isinstance(second.source, Tag)
    return whole and first.source == second.source.moved(-1)


_RULES: dict[str, Callable[..., Tag | None]] = {
    **dict.fromkeys(("_softmax", "softmax", "_safe_softmax", "_masked_softmax"), _made("softmax")),
    **dict.fromkeys(("_log_softmax", "log_softmax"), _made("log-softmax")),
    **dict.fromkeys(("sigmoid", "hardsigmoid", "special_expit"), _made("sigmoid")),
    **dict.fromkeys(("log_sigmoid", "log_sigmoid_forward"), _made("log-sigmoid")),
    "tanh": _made("tanh"),
    "softplus": _made("softplus"),
    "logsumexp": _made("logsumexp"),
    **dict.fromkeys(("lift_fresh", "scalar_tensor", "ones", "zeros", "full", "arange", "eye"), _constant),
    "exp": _exp,
    "log": _log,
    "sum": _sum,
    "linalg_vector_norm": _norm,
    **dict.fromkeys(("mul", "multiply"), _times),
    **dict.fromkeys(("div", "divide", "true_divide"), _over),
    "add": _plus,
    "sub": _minus,
    "rsub": _taken_from,
    "reciprocal": _reciprocal,
    "pow": _power,
    "neg": _negative,
    "where": _chosen,
    "copy": _copied,
    **dict.fromkeys(("cat", "concat"), _joined),
    "stack": _stacked,
    **dict.fromkeys(
        (
            *(
                "view",
                "_unsafe_view",
                "_reshape_alias",
                "reshape",
                "alias",
                "detach",
                "clone",
                "contiguous",
                "_to_copy",
            ),
            *("lift", "unsqueeze", "squeeze", "permute", "transpose", "t", "expand", "as_strided"),
            *("dropout", "unflatten", "flatten", "resolve_conj", "resolve_neg", "dequantize", "view_as_real"),
        ),
        _whole,
    ),
    **dict.fromkeys(
        (
            *("slice", "select", "index_select", "index", "gather", "split", "split_with_sizes", "unbind", "narrow"),
            *("diagonal", "flip", "roll", "mean", "amax", "max", "nan_to_num", "round", "masked_fill", "repeat"),
            *("constant_pad_nd", "sort", "topk", "relu", "quantize_per_tensor", "take", "unsafe_split"),
        ),
        _part,
    ),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "hardtanh"), _bounded),
}
_FAMILIES = (
    "upsample_",
    "_upsample_",
    "avg_pool",
    "adaptive_avg_pool",
    "_adaptive_avg_pool",
    "max_pool",
    "mkldnn_adaptive",
)
