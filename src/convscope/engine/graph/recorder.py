"""Every operation that really runs in one forward, written down as it is done.

The recorder sits below autograd (`__torch_dispatch__`), where functions, methods, operators, modules and in-place
forms have become the same operations. Which operation made what another reads is known by the tensors themselves: a
view is an operation of its own, and who wrote into memory that others show is remembered with the memory.
"""

from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from convscope.engine.graph import flops
from convscope.engine.graph.dependence import Dependence, mixed_whole, of_input
from convscope.engine.graph.dependence_rules import sees
from convscope.engine.graph.kinds import MOVES, kind, moves, packet, pointwise, shaped_like
from convscope.engine.graph.observed_call import Done, tensors_in
from convscope.engine.graph.writes import Part, part_of, written_over
from convscope.engine.network.vmap import under_vmap
from convscope.engine.ops.module_of_call import Whereabouts

INPUT = -1
"""What stands for the network's input among the parents of an operation."""


@dataclass(frozen=True)
class Step:
    """One operation that ran.

    Attributes:
        module: the address of the innermost module that ran; ``calls`` which call it is of each module from the
            outermost to that one.
        parents: the operations whose results it read, `INPUT` for the network's input.
        moves: it only shows or copies numbers that were there.
        weights: the parameters that were met here first, by identity.
        flops: of products, a multiply-add as two; ``norm_flops``: of a norm.
        bytes: memory of its result, none where it is a view or written in place.
        seen: what its result sees of the input, axis by axis; ``bound`` says that it may be less.
    """

    kind: str
    operation: str
    module: str
    calls: tuple[int, ...]
    parents: tuple[int, ...]
    moves: bool
    weights: frozenset[int]
    shape: tuple[int, ...]
    dtype: str
    flops: int
    norm_flops: int
    bytes: int
    seen: tuple[Dependence, ...]
    bound: bool


@dataclass
class Mark:
    """What is known of one tensor: the operation that made it last, and what of the input it sees.

    Attributes:
        seen: one entry per spatial axis of the input, and the last for the batch.
    """

    step: int
    seen: tuple[Dependence, ...]


@dataclass
class Write:
    """What was written into a piece of memory, and into which part of it."""

    mark: Mark
    part: Part


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down the operations of what runs within.

    Attributes:
        calls: how often each module was called so far.
        uncounted: operations with arithmetic of their own for which no count is known.
        guessed: operations of which it is not known what they read, so that they may see all.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[Step] = []
        self.calls, self.uncounted, self.guessed = Counter[str](), Counter[str](), Counter[str]()
        self._whereabouts = Whereabouts(module)
        self._marks: MutableMapping[Tensor, Mark] = WeakTensorKeyDictionary()
        self._weights: MutableMapping[Tensor, frozenset[int]] = WeakTensorKeyDictionary()
        self._writes: dict[int, list[Write]] = {}
        self._written: list[StorageWeakRef] = []  # so that no other memory takes the place of what was written to
        self._met: set[int] = set()
        for parameter in module.parameters():
            self._weights[parameter] = frozenset([id(parameter)])

    def begin(self, tensor: Tensor) -> None:
        """Forget everything and take ``tensor`` as the network's input."""
        self.steps.clear()
        for counter in (self.calls, self.uncounted, self.guessed):
            counter.clear()
        self._marks, self._writes, self._written, self._met = WeakTensorKeyDictionary(), {}, [], set()
        self._marks[tensor] = Mark(INPUT, of_input(tuple(tensor.shape)))

    def mark(self, tensor: Tensor) -> Mark | None:
        """What is known of a tensor as it stands now; None of what does not depend on the input, or lies under vmap."""
        if under_vmap():  # its memory is out of reach
            return None
        own: Mark | None = self._marks.get(tensor)
        writes = [w for w in self._writes.get(_memory(tensor), ()) if own is None or w.mark.step > own.step]
        if not writes:
            return own
        latest = max(write.mark.step for write in writes)
        if own is None:
            whole = part_of(tensor)
            axes = range(len(writes[0].mark.seen))
            return Mark(latest, tuple(written_over(whole, [(w.part, w.mark.seen[a]) for w in writes]) for a in axes))
        parts = [own.seen, *(write.mark.seen for write in writes)]
        mixed = [mixed_whole(axis, tensor.ndim) for axis in zip(*parts, strict=True)]
        places = zip(
            mixed, own.seen, strict=True
        )  # what is written into parts of a tensor leaves numbers in their places
        kept = (replace(axis, place=old.place, across=old.across, steps=old.steps) for axis, old in places)
        return Mark(latest, tuple(kept))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        with self:  # what is made of other operations shows itself as those
            out = _made_of_others(func, args, kwargs)
        if out is not NotImplemented:
            return out
        reads = tensors_in((args, kwargs))
        parents, weights = ((), frozenset[int]()) if shaped_like(func) else self._origins(func, reads)
        before = {tensor: self.mark(tensor) for tensor in reads}
        memory = {_memory(tensor) for tensor in reads}
        out = func(*args, **kwargs)
        made = tensors_in(out)
        if not parents:
            for tensor in made:
                self._weights[tensor] = weights
        if not made or not (parents or flops.products(func, args, kwargs, out)):
            return out
        self._write_down(Done(func, tuple(args), kwargs, out, _looking(before)), parents, weights, memory)
        return out

    def _origins(self, func: Any, reads: list[Tensor]) -> tuple[tuple[int, ...], frozenset[int]]:
        """The operations that made what is read, and the parameters that are."""
        parents: set[int] = set()
        weights: frozenset[int] = frozenset()
        ignored = reads[0] if packet(func) in ("copy_", "fill_", "zero_") and _entire(reads[0]) else None
        for tensor in reads:
            weights |= self._weights.get(tensor, frozenset())
            own: Mark | None = None if tensor is ignored else self._marks.get(tensor)
            since = -2 if own is None else own.step
            parents |= {since} - {-2}
            if tensor is not ignored:
                parents |= {w.mark.step for w in self._writes.get(_memory(tensor), ()) if w.mark.step > since}
        return tuple(sorted(parents)), weights

    def _write_down(self, done: Done, parents: tuple[int, ...], weights: frozenset[int], memory: set[int]) -> None:
        func, outs = done.func, done.outs
        if packet(func) == "as_strided_":
            return
        number, address = len(self.steps), self._whereabouts()
        seen, exact = sees(done) if parents else ([()] * len(outs), True)
        if not exact:
            self.guessed[kind(func)] += 1
        products = flops.products(func, done.args, done.kwargs, done.out)
        norm = flops.of_norm(func, done.args, done.out)
        if not (products or norm or moves(func) or pointwise(func)) and kind(func) in _COUNTLESS:
            self.uncounted[kind(func)] += 1
        fresh = [one for one in outs if _memory(one) not in memory]
        first = outs[0]
        self.steps.append(
            Step(
                kind=kind(func),
                operation=str(func),
                module=address,
                calls=self._calls_to(address),
                parents=parents,
                moves=moves(func),
                weights=weights - self._met,
                shape=tuple(first.shape),
                dtype=str(first.dtype).removeprefix("torch."),
                flops=products,
                norm_flops=norm,
                bytes=0 if packet(func) in MOVES else sum(one.numel() * one.element_size() for one in fresh[:1]),
                seen=seen[0][:-1],
                bound=not exact,
            )
        )
        self._met |= weights
        if not parents:
            return
        for tensor, one in zip(outs, seen, strict=True):
            mark = Mark(number, one)
            self._marks[tensor] = mark
            if _memory(tensor) in memory and packet(func) not in MOVES:  # written in place: what shows it sees it
                self._writes.setdefault(_memory(tensor), []).append(Write(mark, part_of(tensor)))
                self._written.append(
                    StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
                )

    def _calls_to(self, address: str) -> tuple[int, ...]:
        """How often each module from the outermost to this one was called so far."""
        parts = address.split(".") if address else []
        return tuple(max(1, self.calls[".".join(parts[: n + 1])]) for n in range(len(parts)))


_COUNTLESS = frozenset(
    {
        "mkldnn rnn layer",
        "int8 lstm",
        "int8 gru",
        "lstm",
        "gru",
        "rnn tanh",
        "fft c2c",
        "fft r2c",
        "fft c2r",
        "grid sampler 2d",
        "cdist forward",
    }
)


def _looking(before: Mapping[Tensor, Mark | None]) -> Callable[[Any], tuple[Dependence, ...] | None]:
    marks = {id(tensor): mark for tensor, mark in before.items()}

    def look(thing: Any) -> tuple[Dependence, ...] | None:
        mark = marks.get(id(thing)) if isinstance(thing, Tensor) else None
        return None if mark is None else mark.seen

    return look


def _made_of_others(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """What an operation gives that is nothing but others one after the other; such come through inference mode."""
    if kind(func) == "enlargement":  # known as it is; its parts would be a lookup by computed places
        return NotImplemented
    return func.decompose(*args, **kwargs)


def _entire(tensor: Tensor) -> bool:
    """Whether a tensor shows all of its memory, so that writing to it leaves nothing of what was there."""
    return tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def _memory(tensor: Tensor) -> int:
    """The piece of memory that a tensor shows."""
    return int(tensor.untyped_storage()._cdata)
