"""How each operation changes what is seen: from the tensors it reads to those it makes.

An operation that is not known here may mix all it reads: its output then sees everything its inputs see, which is an
upper bound, and it is named among the notes.
"""

from typing import Any

from torch import Tensor

from convscope.engine.graph import dependence as places
from convscope.engine.graph import mixing, moves, windows
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.kinds import COPIES, MOVES, kind, packet, pointwise
from convscope.engine.graph.mixing import UPPER_BOUNDS
from convscope.engine.graph.moves import in_place, moved_about
from convscope.engine.graph.observed_call import Done, Rule

_RULES: dict[str, Rule] = {**moves.RULES, **windows.RULES, **mixing.RULES}
_BY_KIND: dict[str, Rule] = {**windows.BY_KIND, **mixing.BY_KIND}


def sees(done: Done) -> tuple[list[tuple[Dependence, ...]], bool]:
    """What each output of an operation sees, and whether that is more than an upper bound."""
    parts = done.reading()
    empty = done.outs[0].numel() == 0
    rule = None if empty else _rule_for(done.func)
    try:
        found = rule(done) if rule is not None else None
    except (RuntimeError, TypeError, ValueError, LookupError):  # called in a way that its rule does not know
        found = None
    outs = done.outs
    if found is not None and len(found) == len(outs) and all(map(_fits, found, outs)):
        return list(found), packet(done.func) not in UPPER_BOUNDS or not any(axis.whole for axis in found[0][:-1])
    return [tuple(places.mixed_whole(axis, out.ndim) for axis in zip(*parts, strict=True)) for out in done.outs], empty


def _fits(seen: tuple[Dependence, ...], out: Tensor) -> bool:
    """Whether what is seen can be laid over a tensor."""
    return all(
        end.ndim == out.ndim and all(n in (1, size) for n, size in zip(end.shape, out.shape, strict=True))
        for axis in seen
        for end in (axis.low, axis.high, axis.place)
    )


def _rule_for(func: Any) -> Rule | None:
    name = packet(func)
    rule = _RULES.get(name) or _RULES.get(name.removesuffix("_"))
    if rule is not None:
        return rule
    if kind(func) in _BY_KIND:
        return _BY_KIND[kind(func)]
    if pointwise(func):
        return in_place
    return moved_about if name in MOVES or name in COPIES or name.startswith("reflection_pad") else None
