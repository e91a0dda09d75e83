"""One clean map and many small changed windows of it, in the guise of the batch of maps that they stand for.

The user's own forward runs on a `Changed`: to it this is a tensor (B, C, …) like any other. Operations reach it below
autograd, where functional, method, module and in-place spellings have become one (`__torch_dispatch__`). Those that are
known (`operations`) are done on the clean map once and on the windows; any other gets the whole maps, and so does what
comes after it.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from convscope.engine.incremental.regions import Places, cut_out, rows_last

Operation = Callable[..., Any]


class Unfit(Exception):
    """Raised by a known operation that cannot be done on windows this time; it says why."""


class Astray(BaseException):
    """The windows cannot be followed through this network: another path than before, or memory shared in a way that
    only whole maps have. Nothing in a network catches it."""


class Changed(Tensor):
    """A batch of maps that are all like ``base`` but for a window each; or, once they were needed, the ``whole`` maps.

    Attributes:
        shared: whether another tensor is a view of this one, so that writing to either would have to show in both.
    """

    run: "Run"
    base: Tensor
    patches: Tensor
    places: Places
    whole: Tensor | None
    shared: bool

    @staticmethod
    def __new__(cls, run: "Run", like: Tensor, shape: tuple[int, ...], strides: tuple[int, ...]) -> "Changed":
        made: Changed = Tensor._make_wrapper_subclass(cls, shape, strides=strides, dtype=like.dtype, device=like.device)
        made.run, made.whole, made.shared = run, None, False
        return made

    def __init__(self, *_: Any) -> None:
        pass  # all is done by `in_windows` and `as_whole`

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Changed({tuple(self.shape)}, {'whole' if self.whole is not None else self.places.size})"

    @classmethod
    def in_windows(cls, run: "Run", base: Tensor, patches: Tensor, places: Places, *, plain: bool = False) -> "Changed":
        """Maps like ``base`` with ``patches`` in their places; ``plain``: channels not last in memory."""
        shape = (len(patches), *base.shape[1:])
        made = cls(run, patches, shape, _strides(shape, plain=plain or run.plain))
        made.base, made.patches, made.places = base, patches, places
        run.meet(patches)
        return made

    @classmethod
    def as_whole(cls, run: "Run", whole: Tensor) -> "Changed":
        """What came of whole maps."""
        made = cls(run, whole, tuple(whole.shape), whole.stride())
        made.whole = whole
        run.meet(whole)
        return made

    def seen_in(self, wanted: Places, fill: float = 0.0) -> Tensor:
        """What these maps show in other windows (B, C, …)."""
        return cut_out(self.base, self.patches, self.places, wanted, fill)

    def become_whole(self) -> Tensor:
        """The maps themselves (B, C, …), from now on what this tensor is."""
        if self.whole is None:
            maps = self.seen_in(self.places.everything())
            promised = self.stride()
            if maps.stride() != promised:
                maps = torch.empty_strided(maps.shape, promised, dtype=maps.dtype, device=maps.device).copy_(maps)
            self.whole = maps
            self.run.meet(maps)
            del self.base, self.patches
        return self.whole

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if OneChannel in types:
            return with_channel_axes(func, args, kwargs)
        return changed_in((*args, *kwargs.values()))[0].run.operate(func, args, kwargs)


class OneChannel(Tensor):
    """One channel of some ``maps`` without its axis, ``x[:, 0]``, which most often is given it back at once."""

    maps: Changed

    @staticmethod
    def __new__(cls, maps: Changed) -> "OneChannel":
        shape = (len(maps), *maps.shape[2:])
        made: OneChannel = Tensor._make_wrapper_subclass(cls, shape, dtype=maps.dtype, device=maps.device)
        made.maps = maps
        return made

    def __init__(self, *_: Any) -> None:
        pass

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OneChannel({tuple(self.shape)})"

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.unsqueeze.default and args[1] == 1:
            return args[0].maps
        return with_channel_axes(func, args, kwargs or {})


def with_channel_axes(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """An operation on single channels, done on whole maps."""
    if func._schema.is_mutable:
        raise Astray(f"{func.__name__} meets a single channel")

    def opened(thing: Any) -> Any:
        return torch.ops.aten.squeeze.dim(thing.maps, 1) if isinstance(thing, OneChannel) else thing

    return func(*tree_map(opened, args), **tree_map(opened, dict(kwargs)))


class Unread(Tensor):
    """A result that hardly any network reads, such as the indices of a maximum: reading it leads astray."""

    @staticmethod
    def __new__(cls, shape: tuple[int, ...]) -> "Unread":
        made: Unread = Tensor._make_wrapper_subclass(cls, shape, dtype=torch.int64)
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return "Unread()"

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.squeeze.dim:  # of one-dimensional pooling, on its way out
            return Unread(tuple(torch.empty(args[0].shape, device="meta", dtype=torch.float32).squeeze(args[1]).shape))
        raise Astray(f"{func.__name__} reads the indices of a maximum")


@dataclass
class Step:
    """One operation of the forward, and what it makes of the clean map once somebody wanted to know."""

    func: Any
    base: Any = None


@dataclass
class Run:
    """What the forwards of one image's windows have in common: the clean maps, computed once.

    Every operation on a `Changed` is counted, also those on whole maps, so that each finds its clean map again.

    Args:
        known: how an operation is done on windows, if that is known.
        network: whose layers are named where whole maps were needed.
        most: the share of the map from which a window is not worth following.
        plain: whole maps lie in memory with their channels first.
    """

    known: Callable[[Any], Operation | None]
    network: nn.Module
    most: float
    plain: bool = False
    steps: list[Step] = field(default_factory=list)
    done: int = 0
    multiplied: int = 0
    largest: int = 0
    became_whole: str | None = None

    def begin(self, base: Tensor, patches: Tensor, places: Places) -> Changed:
        """The network's input for one chunk."""
        self.done = 0
        return Changed.in_windows(self, base, patches, places)

    def clean(self, compute: Callable[[], Any]) -> Any:
        """What the operation in hand makes of the clean map."""
        step = self.steps[self.done - 1]
        if step.base is None:
            base = compute()
            step.base = rows_last(base) if isinstance(base, Tensor) and base.ndim > 2 else base
        return step.base

    def require_worth(self, places: Places) -> None:
        """Refuse windows that cover most of the map."""
        if places.share > self.most:
            raise Unfit(f"a window covers {places.share:.0%} of the map")

    def operate(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """One operation with at least one `Changed` among its arguments."""
        self._next(func)
        changed = changed_in((*args, *kwargs.values()))
        if all(t.whole is None for t in changed):
            try:
                return self._on_windows(func, args, kwargs)
            except Unfit as reason:
                if self.became_whole is None:
                    self.became_whole = f"from {layer_in_hand(self.network)}: {reason}"
        if func._schema.is_mutable and any(t.shared and t.whole is None for t in changed):
            raise Astray(f"{func.__name__} writes to a tensor that has views")
        out = self.call(func, *tree_map(_whole, args), **tree_map(_whole, dict(kwargs)))
        return tree_map(lambda made: self._wrapped(made, changed), out)

    def call(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Do an operation on ordinary tensors, and count its multiplications."""
        out = func(*args, **kwargs)
        self.multiplied += multiplications(func, args, kwargs, out)
        return out

    def meet(self, tensor: Tensor) -> None:
        """Notice how many numbers a tensor holds for each window."""
        if tensor.ndim:
            self.largest = max(self.largest, tensor.numel() // max(1, len(tensor)))

    def _next(self, func: Any) -> None:
        if self.done == len(self.steps):
            self.steps.append(Step(func))
        if self.steps[self.done].func is not func:
            raise Astray(f"{func.__name__} is done where the first time it was {self.steps[self.done].func.__name__}")
        self.done += 1

    def _on_windows(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        operation = self.known(func)
        if operation is None:
            raise Unfit(f"{func.__name__} is not done on windows")
        return operation(self, func, *args, **kwargs)

    def _wrapped(self, made: Any, changed: list[Changed]) -> Any:
        """A result on whole maps; an argument that was written to stays the tensor that it was."""
        if not isinstance(made, Tensor):
            return made
        for written in (t for t in changed if t.whole is made):
            return written
        return Changed.as_whole(self, made)


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the multiplications of ordinary tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiplied = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.multiplied += multiplications(func, args, kwargs or {}, out)
        return out


def changed_in(things: Any) -> list[Changed]:
    """All `Changed` among arguments, also within lists of them."""
    found = []
    for thing in things:
        if isinstance(thing, Changed):
            found.append(thing)
        elif isinstance(thing, (list, tuple)):
            found += changed_in(thing)
    return found


def multiplications(func: Any, args: Any, kwargs: Mapping[str, Any], out: Any) -> int:
    """Two for each multiply-add of a convolution or a matrix product, nothing for the rest."""
    counted = flop_registry.get(func.overloadpacket)
    return int(counted(*args, **kwargs, out_val=out)) if counted else 0


def layer_in_hand(network: nn.Module) -> str:
    """The innermost layer whose forward is running, seen from the calls in progress."""
    addresses = {id(module): address for address, module in network.named_modules() if address}
    frame = sys._getframe(1)
    while frame is not None:
        address: str | None = addresses.get(id(frame.f_locals.get("self")))
        if address is not None:
            return address
        frame = frame.f_back  # type: ignore[assignment]
    return "the network itself"


def _strides(shape: tuple[int, ...], *, plain: bool) -> tuple[int, ...]:
    """How maps lie in memory: channels-last in two dimensions, as everywhere in the engine, else plainly."""
    layout = torch.channels_last if len(shape) == 4 and not plain else torch.contiguous_format
    return torch.empty(shape, device="meta", memory_format=layout, dtype=torch.float32).stride()


def _whole(thing: Any) -> Any:
    return thing.become_whole() if isinstance(thing, Changed) else thing
