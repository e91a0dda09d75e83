"""A tensor that stands for a batch of maps, and holds one clean map and a small changed window (patch) of each.

The network's own forward runs on a `PatchedTensor`, which it sees as an ordinary tensor (B, C, …). Operations reach it
below autograd, where functional, method, module and in-place spellings have become one (`__torch_dispatch__`). Those
with a rule (`operations`) are run once on the clean map and on the patches; any other gets the whole maps, and so does
what follows it.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from convscope.engine.incremental.regions import WindowPositions, channels_last, crop_patched
from convscope.engine.ops.dispatch_mode import DispatchMode
from convscope.values.facts import Fact

PatchRule = Callable[..., Any]
"""How an operation is run on windows."""


class NotOnWindows(Exception):
    """Raised by a rule that cannot run an operation on windows in this case; the message says why."""


class CannotFollow(BaseException):
    """Windows cannot be followed through this network.

    It runs other operations than in the first chunk, or shares memory in a way that only whole maps support. A
    BaseException, so that no network catches it.
    """


class PatchedTensor(Tensor):
    """A batch of maps that equal ``base`` except for a window each; or the ``whole`` maps once they were needed.

    Attributes:
        shared: whether another tensor is a view of this one, so that a write to either would have to show in both.
    """

    run: "IncrementalRun"
    base: Tensor
    patches: Tensor
    positions: WindowPositions
    whole: Tensor | None
    shared: bool

    @staticmethod
    def __new__(
        cls, run: "IncrementalRun", like: Tensor, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> "PatchedTensor":
        tensor: PatchedTensor = Tensor._make_wrapper_subclass(
            cls, shape, strides=strides, dtype=like.dtype, device=like.device
        )
        tensor.run, tensor.whole, tensor.shared = run, None, False
        return tensor

    def __init__(self, *_: Any) -> None:
        pass  # `from_patches` and `from_whole` set all attributes

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"PatchedTensor({tuple(self.shape)}, {'whole' if self.whole is not None else self.positions.size})"

    @classmethod
    def from_patches(
        cls,
        run: "IncrementalRun",
        base: Tensor,
        patches: Tensor,
        positions: WindowPositions,
        *,
        contiguous: bool = False,
    ) -> "PatchedTensor":
        """Maps like ``base`` with ``patches`` at their positions; ``contiguous``: not channels-last in memory."""
        shape = (len(patches), *base.shape[1:])
        tensor = cls(run, patches, shape, _strides(shape, contiguous=contiguous or run.contiguous))
        tensor.base, tensor.patches, tensor.positions = base, patches, positions
        run.note_size(patches)
        return tensor

    @classmethod
    def from_whole(cls, run: "IncrementalRun", whole: Tensor) -> "PatchedTensor":
        """The result of an operation on whole maps."""
        tensor = cls(run, whole, tuple(whole.shape), whole.stride())
        tensor.whole = whole
        run.note_size(whole)
        return tensor

    def crop(self, wanted: WindowPositions, fill: float = 0.0) -> Tensor:
        """Other windows of these maps (B, C, …)."""
        return crop_patched(self.base, self.patches, self.positions, wanted, fill)

    def become_whole(self) -> Tensor:
        """The whole maps (B, C, …), which this tensor holds from now on."""
        if self.whole is None:
            maps = self.crop(self.positions.whole_maps())
            strides = self.stride()
            if maps.stride() != strides:
                maps = torch.empty_strided(maps.shape, strides, dtype=maps.dtype, device=maps.device).copy_(maps)
            self.whole = maps
            self.run.note_size(maps)
            del self.base, self.patches
        return self.whole

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if ChannelSlice in types:
            return run_with_channel_axes(func, args, kwargs)
        return patched_in((*args, *kwargs.values()))[0].run.dispatch(func, args, kwargs)


class ChannelSlice(Tensor):
    """One channel of some ``maps`` without the channel axis, ``x[:, 0]``; most often the axis is restored at once."""

    maps: PatchedTensor

    @staticmethod
    def __new__(cls, maps: PatchedTensor) -> "ChannelSlice":
        shape = (len(maps), *maps.shape[2:])
        tensor: ChannelSlice = Tensor._make_wrapper_subclass(cls, shape, dtype=maps.dtype, device=maps.device)
        tensor.maps = maps
        return tensor

    def __init__(self, *_: Any) -> None:
        pass

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"ChannelSlice({tuple(self.shape)})"

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.unsqueeze.default and args[1] == 1:
            return args[0].maps
        return run_with_channel_axes(func, args, kwargs or {})


def run_with_channel_axes(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Run an operation on single channels, which are taken from the whole maps."""
    if func._schema.is_mutable:
        raise CannotFollow(Fact("{operation} writes to a single channel", operation=func.__name__))

    def squeezed(argument: Any) -> Any:
        return torch.ops.aten.squeeze.dim(argument.maps, 1) if isinstance(argument, ChannelSlice) else argument

    return func(*tree_map(squeezed, args), **tree_map(squeezed, dict(kwargs)))


class UnusedIndices(Tensor):
    """The indices of a max pooling, which hardly any network reads; reading them raises `CannotFollow`."""

    @staticmethod
    def __new__(cls, shape: tuple[int, ...]) -> "UnusedIndices":
        tensor: UnusedIndices = Tensor._make_wrapper_subclass(cls, shape, dtype=torch.int64)
        return tensor

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return "UnusedIndices()"

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.squeeze.dim:  # the last step of one-dimensional pooling
            shape = torch.empty(args[0].shape, device="meta", dtype=torch.float32).squeeze(args[1]).shape
            return UnusedIndices(tuple(shape))
        raise CannotFollow(Fact("{operation} reads the indices of a maximum", operation=func.__name__))


@dataclass
class CachedOperation:
    """One operation of the forward pass, and its result on the clean map once that was computed."""

    func: Any
    base: Any = None


@dataclass
class IncrementalRun:
    """What the forward passes for one image's windows share: the clean maps, computed once.

    Every operation on a `PatchedTensor` is numbered, including those on whole maps, so that each finds its clean map
    again.

    Args:
        rule_for: how an operation is run on windows, or None where there is no rule.
        network: the network, whose layers are named where whole maps were needed.
        max_share: the share of the map from which a window is no longer followed.
        contiguous: whole maps are contiguous in memory instead of channels-last.

    Attributes:
        operations: all operations of the forward pass in order, of which ``done`` have run in this chunk.
        multiplied: the FLOPs of products so far.
        largest: the largest number of values per window in one tensor.
        why_whole: where and why whole maps were first needed.
    """

    rule_for: Callable[[Any], PatchRule | None]
    network: nn.Module
    max_share: float
    contiguous: bool = False
    operations: list[CachedOperation] = field(default_factory=list)
    done: int = 0
    multiplied: int = 0
    largest: int = 0
    why_whole: str | None = None

    def start_chunk(self, base: Tensor, patches: Tensor, positions: WindowPositions) -> PatchedTensor:
        """The network's input for one chunk of windows."""
        self.done = 0
        return PatchedTensor.from_patches(self, base, patches, positions)

    def clean(self, compute: Callable[[], Any]) -> Any:
        """The result of the current operation on the clean map."""
        operation = self.operations[self.done - 1]
        if operation.base is None:
            base = compute()
            operation.base = channels_last(base) if isinstance(base, Tensor) and base.ndim > 2 else base
        return operation.base

    def require_small(self, positions: WindowPositions) -> None:
        """Refuse windows that cover most of the map."""
        if positions.share > self.max_share:
            raise NotOnWindows(Fact("a window covers {share} of the map", share=f"{positions.share:.0%}"))

    def dispatch(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Run one operation with at least one `PatchedTensor` among its arguments."""
        self._next_operation(func)
        patched = patched_in((*args, *kwargs.values()))
        if all(t.whole is None for t in patched):
            try:
                return self._on_windows(func, args, kwargs)
            except NotOnWindows as reason:
                if self.why_whole is None:
                    self.why_whole = Fact("from {layer}: {why}", layer=running_layer(self.network), why=reason.args[0])
        if func._schema.is_mutable and any(t.shared and t.whole is None for t in patched):
            raise CannotFollow(Fact("{operation} writes to a tensor that has views", operation=func.__name__))
        result = self.call(func, *tree_map(_as_whole, args), **tree_map(_as_whole, dict(kwargs)))
        return tree_map(lambda output: self._wrapped(output, patched), result)

    def call(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Run an operation on ordinary tensors, and count its multiplications."""
        result = func(*args, **kwargs)
        self.multiplied += multiplications(func, args, kwargs, result)
        return result

    def note_size(self, tensor: Tensor) -> None:
        """Keep track of the largest number of values per window."""
        if tensor.ndim:
            self.largest = max(self.largest, tensor.numel() // max(1, len(tensor)))

    def _next_operation(self, func: Any) -> None:
        if self.done == len(self.operations):
            self.operations.append(CachedOperation(func))
        expected = self.operations[self.done].func
        if expected is not func:
            raise CannotFollow(
                Fact(
                    "{operation} ran where {expected} ran in the first chunk",
                    operation=func.__name__,
                    expected=expected.__name__,
                )
            )
        self.done += 1

    def _on_windows(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        rule = self.rule_for(func)
        if rule is None:
            raise NotOnWindows(Fact("{operation} is not supported on windows", operation=func.__name__))
        return rule(self, func, *args, **kwargs)

    def _wrapped(self, output: Any, patched: list[PatchedTensor]) -> Any:
        """An output of an operation on whole maps; an argument that was written to stays the same tensor."""
        if not isinstance(output, Tensor):
            return output
        for written in (t for t in patched if t.whole is output):
            return written
        return PatchedTensor.from_whole(self, output)


class MultiplicationCounter(DispatchMode):
    """Counts the multiplications of ordinary tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiplied = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.multiplied += multiplications(func, args, kwargs or {}, result)
        return result


def patched_in(arguments: Any) -> list[PatchedTensor]:
    """All `PatchedTensor` among arguments, also within lists of them."""
    patched = []
    for argument in arguments:
        if isinstance(argument, PatchedTensor):
            patched.append(argument)
        elif isinstance(argument, (list, tuple)):
            patched += patched_in(argument)
    return patched


def multiplications(func: Any, args: Any, kwargs: Mapping[str, Any], result: Any) -> int:
    """Two for each multiply-add of a convolution or a matrix product, zero for other operations."""
    count = flop_registry.get(func.overloadpacket)
    return int(count(*args, **kwargs, out_val=result)) if count else 0


def running_layer(network: nn.Module) -> str:
    """The innermost layer whose forward is running, found on the call stack."""
    addresses = {id(module): address for address, module in network.named_modules() if address}
    frame = sys._getframe(1)
    while frame is not None:
        address: str | None = addresses.get(id(frame.f_locals.get("self")))
        if address is not None:
            return address
        frame = frame.f_back  # type: ignore[assignment]
    return Fact("the network itself")


def _strides(shape: tuple[int, ...], *, contiguous: bool) -> tuple[int, ...]:
    """The strides of maps: channels-last in two dimensions, as everywhere in the engine, else contiguous."""
    memory_format = torch.channels_last if len(shape) == 4 and not contiguous else torch.contiguous_format
    return torch.empty(shape, device="meta", memory_format=memory_format, dtype=torch.float32).stride()


def _as_whole(argument: Any) -> Any:
    return argument.become_whole() if isinstance(argument, PatchedTensor) else argument
