"""Recording every operation that runs in one forward pass.

The recorder works below autograd (`__torch_dispatch__`), where functions, methods, operators, modules and in-place
forms have become the same operations. Which operation computed what another one reads is tracked by tensor, where a
view is an operation of its own; writes to memory that other tensors share are tracked by memory.

The arithmetic of positions runs with all modes disabled: another one would take it for the network's.
"""

from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.weak import WeakTensorKeyDictionary

from convscope.engine.graph import flops
from convscope.engine.graph.aten_operations import VIEWS, base_name, is_pointwise, kind, only_moves, reads_only_shape
from convscope.engine.graph.dependence import Dependence, fully_mixed, of_input
from convscope.engine.graph.dependence_rules import output_dependences
from convscope.engine.graph.memory_writes import MemoryView, dependence_after_writes, memory_view
from convscope.engine.graph.observed_call import DependenceLookup, ObservedCall, tensors_in
from convscope.engine.network.vmap import under_vmap
from convscope.engine.ops.dispatch_mode import DispatchMode
from convscope.engine.ops.module_of_call import ModuleLocator

INPUT = -1
"""Stands for the network's input among the parents of an operation."""


@dataclass(frozen=True)
class OperationRecord:
    """One operation that ran.

    Attributes:
        name: torch's name of the operation, with its overload.
        module: the address of the innermost module that ran; ``calls`` is the number of the current call of each module
            from the outermost to that one.
        parents: the operations whose results it read, `INPUT` for the network's input.
        moves: whether it only rearranges or copies values.
        weights: the parameters that were first used here, by identity.
        flops: of products, a multiply-add as two; ``norm_flops``: of a norm.
        bytes: memory of its result, none where that is a view or was written in place.
        dependence: of its result on each spatial axis of the input; ``upper_bound`` says that it may be less.
    """

    kind: str
    name: str
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
    dependence: tuple[Dependence, ...]
    upper_bound: bool


@dataclass
class TensorOrigin:
    """How a tensor was computed.

    Attributes:
        operation: the index of the last operation that computed or wrote to it.
        dependence: on each spatial axis of the input, and last on the batch.
    """

    operation: int
    dependence: tuple[Dependence, ...]


@dataclass
class MemoryWrite:
    """A write to a part of a block of memory: where the written values come from, and which part it was."""

    origin: TensorOrigin
    view: MemoryView


class Recorder(DispatchMode):
    """Records the operations that run while it is active.

    Attributes:
        calls: how often each module was called so far.
        without_flop_count: operations with arithmetic of their own whose FLOPs are not counted.
        without_rule: operations whose outputs are taken to depend on all they read, since no rule covers them.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[OperationRecord] = []
        self.calls, self.without_flop_count, self.without_rule = Counter[str](), Counter[str](), Counter[str]()
        self._module_of_call = ModuleLocator(module)
        self._origins: MutableMapping[Tensor, TensorOrigin] = WeakTensorKeyDictionary()
        self._weights: MutableMapping[Tensor, frozenset[int]] = WeakTensorKeyDictionary()
        self._writes: dict[int, list[MemoryWrite]] = {}
        self._written_storages: list[StorageWeakRef] = []  # keeps their addresses from being reused
        self._used_weights: set[int] = set()
        for parameter in module.parameters():
            self._weights[parameter] = frozenset([id(parameter)])

    def start(self, tensor: Tensor) -> None:
        """Forget everything and take ``tensor`` as the network's input."""
        self.operations.clear()
        for counter in (self.calls, self.without_flop_count, self.without_rule):
            counter.clear()
        self._origins, self._writes = WeakTensorKeyDictionary(), {}
        self._written_storages, self._used_weights = [], set()
        with _disable_current_modes():
            self._origins[tensor] = TensorOrigin(INPUT, of_input(tuple(tensor.shape)))

    def origin(self, tensor: Tensor) -> TensorOrigin | None:
        """How a tensor was computed up to now; None where it does not depend on the input, or runs under vmap."""
        if under_vmap():  # its memory cannot be accessed
            return None
        own: TensorOrigin | None = self._origins.get(tensor)
        writes = [
            write
            for write in self._writes.get(_memory(tensor), ())
            if own is None or write.origin.operation > own.operation
        ]
        if not writes:
            return own
        latest = max(write.origin.operation for write in writes)
        with _disable_current_modes():
            if own is None:
                return TensorOrigin(latest, _dependence_of_written(tensor, writes))
            return TensorOrigin(latest, _dependence_with_writes(own, writes, tensor.ndim))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        with self:  # a composite operation is recorded as those it is made of
            result = _run_decomposed(func, args, kwargs)
        if result is not NotImplemented:
            return result
        reads = tensors_in((args, kwargs))
        parents, weights = ((), frozenset[int]()) if reads_only_shape(func) else self._parents_and_weights(func, reads)
        origins = {tensor: self.origin(tensor) for tensor in reads}
        memory_read = {_memory(tensor) for tensor in reads}
        result = func(*args, **kwargs)
        outputs = tensors_in(result)
        if not parents:
            for tensor in outputs:
                self._weights[tensor] = weights
        if not outputs or not (parents or flops.of_products(func, args, kwargs, result)):
            return result
        call = ObservedCall(func, tuple(args), kwargs, result, _lookup(origins))
        if base_name(func) != "as_strided_":
            self._record(call, parents, weights, memory_read)
        return result

    def _parents_and_weights(self, func: Any, reads: list[Tensor]) -> tuple[tuple[int, ...], frozenset[int]]:
        """The operations that computed the tensors it reads, and the parameters among these or used to compute them."""
        parents: set[int] = set()
        weights: frozenset[int] = frozenset()
        overwrites = base_name(func) in ("copy_", "fill_", "zero_") and _shows_all_memory(reads[0])
        overwritten = reads[0] if overwrites else None
        for tensor in reads:
            weights |= self._weights.get(tensor, frozenset())
            own: TensorOrigin | None = None if tensor is overwritten else self._origins.get(tensor)
            since = -2 if own is None else own.operation
            parents |= {since} - {-2}
            if tensor is not overwritten:
                writes = self._writes.get(_memory(tensor), ())
                parents |= {write.origin.operation for write in writes if write.origin.operation > since}
        return tuple(sorted(parents)), weights

    def _record(
        self, call: ObservedCall, parents: tuple[int, ...], weights: frozenset[int], memory_read: set[int]
    ) -> None:
        """Append the record of an operation, and note where the tensors that it computed come from."""
        number, address = len(self.operations), self._module_of_call()
        dependences, exact = self._output_dependences(call) if parents else ([()] * len(call.outputs), True)
        products, norm = self._count_flops(call)
        output = call.outputs[0]
        self.operations.append(
            OperationRecord(
                kind=kind(call.func),
                name=str(call.func),
                module=address,
                calls=self._calls_to(address),
                parents=parents,
                moves=only_moves(call.func),
                weights=weights - self._used_weights,
                shape=tuple(output.shape),
                dtype=str(output.dtype).removeprefix("torch."),
                flops=products,
                norm_flops=norm,
                bytes=_new_bytes(call, memory_read),
                dependence=dependences[0][:-1],
                upper_bound=not exact,
            )
        )
        self._used_weights |= weights
        if parents:
            self._set_origins(call, number, dependences, memory_read)

    def _output_dependences(self, call: ObservedCall) -> tuple[list[tuple[Dependence, ...]], bool]:
        """The dependence of each output, and whether it is exact; operations without a rule are counted."""
        with _disable_current_modes():
            dependences, exact = output_dependences(call)
        if not exact:
            self.without_rule[kind(call.func)] += 1
        return dependences, exact

    def _count_flops(self, call: ObservedCall) -> tuple[int, int]:
        """The FLOPs of products and of a norm; operations with arithmetic that is not counted are noted."""
        func = call.func
        products = flops.of_products(func, call.args, call.kwargs, call.result)
        norm = flops.of_norm(func, call.args, call.result)
        if not (products or norm or only_moves(func) or is_pointwise(func)) and kind(func) in _WITHOUT_FLOP_COUNT:
            self.without_flop_count[kind(func)] += 1
        return products, norm

    def _set_origins(
        self, call: ObservedCall, number: int, dependences: Sequence[tuple[Dependence, ...]], memory_read: set[int]
    ) -> None:
        """Note that the outputs were computed by this operation, and which memory it wrote to in place."""
        for tensor, axes in zip(call.outputs, dependences, strict=True):
            origin = TensorOrigin(number, axes)
            self._origins[tensor] = origin
            if _memory(tensor) in memory_read and base_name(call.func) not in VIEWS:  # other views show the write too
                self._writes.setdefault(_memory(tensor), []).append(MemoryWrite(origin, memory_view(tensor)))
                self._written_storages.append(
                    StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
                )

    def _calls_to(self, address: str) -> tuple[int, ...]:
        """How often each module from the outermost to this one was called so far."""
        parts = address.split(".") if address else []
        return tuple(max(1, self.calls[".".join(parts[: n + 1])]) for n in range(len(parts)))


_WITHOUT_FLOP_COUNT = frozenset(
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


def _dependence_of_written(tensor: Tensor, writes: Sequence[MemoryWrite]) -> tuple[Dependence, ...]:
    """The dependence of a constant tensor to whose memory was written."""
    view = memory_view(tensor)
    axes = range(len(writes[0].origin.dependence))
    return tuple(
        dependence_after_writes(view, [(write.view, write.origin.dependence[a]) for write in writes]) for a in axes
    )


def _dependence_with_writes(own: TensorOrigin, writes: Sequence[MemoryWrite], ndim: int) -> tuple[Dependence, ...]:
    """The dependence of a computed tensor to whose memory was written since; its values keep their positions."""
    parts = [own.dependence, *(write.origin.dependence for write in writes)]
    mixed = [fully_mixed(axis, ndim) for axis in zip(*parts, strict=True)]
    return tuple(
        replace(axis, position=old.position, second_position=old.second_position, position_range=old.position_range)
        for axis, old in zip(mixed, own.dependence, strict=True)
    )


def _lookup(origins: Mapping[Tensor, TensorOrigin | None]) -> DependenceLookup:
    by_id = {id(tensor): origin for tensor, origin in origins.items()}

    def dependence_of(argument: Any) -> tuple[Dependence, ...] | None:
        origin = by_id.get(id(argument)) if isinstance(argument, Tensor) else None
        return None if origin is None else origin.dependence

    return dependence_of


def _run_decomposed(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """The result of a composite operation, run as its parts; such operations occur under inference mode."""
    if kind(func) == "enlargement":  # has a rule of its own; its parts would index with computed positions
        return NotImplemented
    return func.decompose(*args, **kwargs)


def _new_bytes(call: ObservedCall, memory_read: set[int]) -> int:
    """The memory of an operation's result, none where that is a view or was written in place."""
    new = [output for output in call.outputs if _memory(output) not in memory_read]
    return 0 if base_name(call.func) in VIEWS else sum(output.numel() * output.element_size() for output in new[:1])


def _shows_all_memory(tensor: Tensor) -> bool:
    """Whether a tensor shows all of its memory, so that writing to it overwrites everything."""
    return tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def _memory(tensor: Tensor) -> int:
    """The address of the block of memory that a tensor shows."""
    return int(tensor.untyped_storage()._cdata)
