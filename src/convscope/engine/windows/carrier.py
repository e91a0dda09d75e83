"""One clean map and many small changed windows of it, in the guise of the batch of maps that they stand for.

The user's own forward runs on a `Changed`: to it this is a tensor (B, C, …) like any other. Operations reach it below
autograd, after functional, method, module and in-place spellings have become one (`__torch_dispatch__`). Those that are
known (`operations.KNOWN`) are done on the clean map once and on the windows; any other gets the whole batch of maps, and
from there on the network runs on ordinary tensors.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

from convscope.engine.windows.places import Places, cut_out, rows_last


class Unfit(Exception):
    """Raised by a known operation that cannot be done on windows this time; it says why."""


class Astray(BaseException):
    """The windows cannot be followed through this network: another path than before, or memory shared in a way that
    only whole maps have. Nothing in a network catches it."""


class Changed(Tensor):
    """A batch of maps that are all like ``base`` but for a window each; or, once somebody needed them, the maps."""

    base: Tensor
    patches: Tensor
    places: Places
    run: "Run"
    whole: Tensor | None
    shared: bool
    """Whether another tensor is a view of this one, so that writing to either would have to show in both."""

    @staticmethod
    def __new__(cls, base: Tensor, patches: Tensor, places: Places, run: "Run") -> "Changed":
        shape = (len(patches), *base.shape[1:])
        made: Changed = Tensor._make_wrapper_subclass(cls, shape, dtype=base.dtype, device=base.device)  # type: ignore[attr-defined]
        return made

    def __init__(self, base: Tensor, patches: Tensor, places: Places, run: "Run") -> None:
        self.base, self.patches, self.places, self.run = base, patches, places, run
        self.whole, self.shared = None, False
        run.meet(patches)

    def __repr__(self, **_: Any) -> str:
        return f"Changed({tuple(self.shape)}, windows of {self.places.size})"

    def seen_in(self, wanted: Places, fill: float = 0.0) -> Tensor:
        """What these maps show in other windows (B, C, …)."""
        return cut_out(self.base, self.patches, self.places, wanted, fill)

    def become_whole(self) -> Tensor:
        """The maps themselves (B, C, …), from now on what this tensor is."""
        if self.whole is None:
            origin = Places(self.places.starts * 0, self.places.extent, self.places.extent)
            self.whole = self.seen_in(origin)
            if self.run.plainly_laid_out:
                self.whole = self.whole.contiguous()
            self.run.meet(self.whole)
            del self.base, self.patches
        return self.whole

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        run = next(t.run for t in tree_leaves((args, kwargs)) if isinstance(t, Changed))
        return run.operate(func, args, kwargs)


class Unread(Tensor):
    """A result that hardly any network reads, such as the indices of a maximum: reading it leads astray."""

    @staticmethod
    def __new__(cls, like: Tensor) -> "Unread":
        made: Unread = Tensor._make_wrapper_subclass(cls, like.shape, dtype=torch.int64)  # type: ignore[attr-defined]
        return made

    def __repr__(self, **_: Any) -> str:
        return "Unread()"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.squeeze.dim, torch.ops.aten.unsqueeze.default):
            return Unread(func(torch.empty(args[0].shape, device="meta"), *args[1:]))
        raise Astray(f"{func.__name__} reads the indices of a maximum")


@dataclass
class Step:
    """One operation of the recorded forward: what it made of the clean map, or that it needed whole maps."""

    func: Any
    base: Any = None
    whole: bool = False


Operation = Callable[..., Any]


@dataclass
class Run:
    """What the forwards of one image's windows have in common.

    The first forward records what each operation makes of the clean map and where whole maps were needed; those that
    follow take the same decisions and do not compute the clean maps again.

    Args:
        known: how an operation is done on windows, if that is known.
        most: the share of the map from which a window is not worth following.
    """

    known: Callable[[Any], Operation | None]
    network: nn.Module
    most: float
    plainly_laid_out: bool = False
    steps: list[Step] = field(default_factory=list)
    done: int = 0
    recorded: bool = False
    multiplied: int = 0
    largest: int = 0
    fallbacks: dict[str, str] = field(default_factory=dict)

    def begin(self, base: Tensor, patches: Tensor, places: Places) -> Changed:
        """The network's input for one chunk."""
        self.recorded, self.done = bool(self.steps), 0
        return Changed(base, patches, places, self)

    def clean(self, compute: Callable[[], Any]) -> Any:
        """What the operation in hand makes of the clean map, computed by the first forward only."""
        step = self.steps[self.done - 1]
        if step.base is None:
            base = compute()
            step.base = rows_last(base) if isinstance(base, Tensor) and base.ndim > 2 else base
        return step.base

    def require_worth(self, places: Places) -> None:
        """Refuse windows that cover most of the map; a recorded decision stands."""
        if not self.recorded and places.share > self.most:
            raise Unfit(f"a window covers {places.share:.0%} of the map")

    def operate(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """One operation with at least one `Changed` among its arguments."""
        step = self._step(func)
        if not step.whole:
            if any(t.whole is not None for t in changed_in(args, kwargs)):
                step.whole = True
            else:
                try:
                    return self._on_windows(func, args, kwargs)
                except Unfit as reason:
                    if self.recorded:
                        raise Astray(str(reason)) from reason
                    step.whole = True
                    self.fallbacks.setdefault(layer_in_hand(self.network), str(reason))
        return self._on_whole_maps(func, args, kwargs)

    def _on_windows(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        operation = self.known(func)
        if operation is None:
            raise Unfit(f"{func.__name__} is not done on windows")
        return operation(self, func, *args, **kwargs)

    def call(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Do an operation on ordinary tensors, and count what it cost."""
        out = func(*args, **kwargs)
        self.count(func, args, kwargs, out)
        return out

    def count(self, func: Any, args: Any, kwargs: Mapping[str, Any], out: Any) -> None:
        """Add up multiplications, while the first forward records."""
        if not self.recorded:
            self.multiplied += multiplications(func, args, kwargs, out)

    def meet(self, tensor: Tensor) -> None:
        """Notice how many numbers one window, or one whole map, has at most."""
        self.largest = max(self.largest, tensor.numel() // max(1, len(tensor)))

    def _step(self, func: Any) -> Step:
        if self.done == len(self.steps):
            if self.recorded:
                raise Astray(f"{func.__name__} was not done the first time")
            self.steps.append(Step(func))
        step = self.steps[self.done]
        if step.func is not func:
            raise Astray(f"{func.__name__} is done where the first time it was {step.func.__name__}")
        self.done += 1
        return step

    def _on_whole_maps(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """The operation as torch does it; what it wrote to, or hands on as it is, stays the tensor that it was."""
        changed = changed_in(args, kwargs)
        if func is torch.ops.aten.view.default:  # which was promised a tensor that lies plainly in memory
            args[0].whole = args[0].become_whole().contiguous()
        if any(t.shared and t.whole is None for t in changed) and func._schema.is_mutable:
            raise Astray(f"{func.__name__} writes to a tensor that has views")
        args, kwargs = tree_map(_whole, args), tree_map(_whole, dict(kwargs))
        out = self.call(func, *args, **kwargs)
        for made in tree_leaves(out):
            if isinstance(made, Tensor) and made.ndim:
                self.meet(made)
        return tree_map(lambda made: next((t for t in changed if t.whole is made), made), out)


class Counter(TorchDispatchMode):
    """Counts multiplications of ordinary tensors, and notices the largest that a network makes of each input."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not changed_in(args, kwargs):
            self.run.multiplied += multiplications(func, args, kwargs, out)
            for tensor in tree_leaves(out):
                if isinstance(tensor, Tensor) and not isinstance(tensor, (Changed, Unread)) and tensor.ndim:
                    self.run.meet(tensor)
        return out


def changed_in(*things: Any) -> list[Changed]:
    """All `Changed` among arguments."""
    return [t for t in tree_leaves(things) if isinstance(t, Changed)]


def multiplications(func: Any, args: Any, kwargs: Mapping[str, Any], out: Any) -> int:
    """Two for each multiply-add of a convolution or a matrix product, nothing for the rest."""
    packet = getattr(func, "overloadpacket", None)
    return int(flop_registry[packet](*args, **kwargs, out_val=out)) if packet in flop_registry else 0


def layer_in_hand(network: nn.Module) -> str:
    """The address of the innermost layer whose forward is running, seen from the calls in progress."""
    addresses = {id(module): address for address, module in network.named_modules() if address}
    for frame in _frames():
        address = addresses.get(id(frame.f_locals.get("self")))
        if address is not None:
            return address
    return "the network itself"


def _frames() -> Iterator[Any]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


def _whole(thing: Any) -> Any:
    return thing.become_whole() if isinstance(thing, Changed) else thing
