"""One operation of a forward: what was called, with which arguments."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from convscope.engine.ops.operation_kinds import Kind, kind_of, name_of

_NORM = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
_PLACES: dict[Any, dict[str, int]] = {
    torch.batch_norm: {name: place for place, name in enumerate(_NORM)},
    torch.instance_norm: {name: place for place, name in enumerate(_NORM)} | {"use_input_stats": 5},
}
"""Where functions take arguments that ``torch.nn.functional`` takes in another order under the same name."""


@dataclass(frozen=True, eq=False)
class Call:
    """An operation with its arguments."""

    function: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    where: Callable[[], str] = str
    """Asked while the operation is called: the address of the module in which that is."""

    @property
    def address(self) -> str:
        """The module in which it is called; empty in the network's own forward."""
        return self.where()

    @property
    def name(self) -> str:
        """``relu``, ``add``, ``conv2d``, however it was spelt."""
        return name_of(self.function)[0]

    @property
    def kind(self) -> Kind | None:
        """Its kind, where it is known."""
        if self.name == "instance_norm" and not self.argument(5, "use_input_stats", True):
            return "batch norm"  # by kept statistics, whatever it is called
        return kind_of(self.function)

    @property
    def inplace(self) -> bool:
        """Whether it writes to its first argument."""
        if name_of(self.function)[1]:
            return True
        place = _inplace_parameter(self.function)
        return place is not None and bool(self.argument(place, "inplace", False))

    def run(self) -> Any:
        """Do it, as the network would have."""
        return self.function(*self.args, **self.kwargs)

    def on(self, *tensors: Tensor) -> Any:
        """Do the same to other tensors in the place of those it was called with, in order."""
        fresh = iter(tensors)
        args = tuple(next(fresh, a) if isinstance(a, Tensor) else a for a in self.args)
        kwargs = {name: next(fresh, v) if isinstance(v, Tensor) else v for name, v in self.kwargs.items()}
        return self.function(*args, **kwargs)

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by its place in ``torch.nn.functional``, or by name."""
        place = _PLACES.get(self.function, {}).get(name, place)
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def tensors(self) -> Iterator[Tensor]:
        """All tensors among the arguments."""
        yield from _tensors((*self.args, *self.kwargs.values()))

    def carrying(self) -> list[Tensor]:
        """Those that depend on what is explained."""
        return [t for t in self.tensors() if t.requires_grad]

    def without(self, gates: list[Tensor]) -> "Call":
        """The same call with some of its tensors as constants."""
        swap = {id(g): g.detach() for g in gates}
        return self.replaced(lambda t: swap.get(id(t), t))

    def replaced(self, other: Any) -> "Call":
        """The same call with ``other(tensor)`` in the place of each tensor."""
        args = tuple(_mapped(a, other) for a in self.args)
        return replace(self, args=args, kwargs={name: _mapped(v, other) for name, v in self.kwargs.items()})

    def detached(self) -> "Call":
        """The same call with all its tensors as constants."""
        return self.replaced(lambda t: t.detach())

    def out_of_place(self) -> "Call":
        """The operation that computes the same and writes to nothing."""
        place = _inplace_parameter(self.function)
        if place is not None:
            args = tuple(False if i == place else a for i, a in enumerate(self.args))
            return replace(
                self, args=args, kwargs={**self.kwargs, **({"inplace": False} if len(args) <= place else {})}
            )
        plain = getattr(Tensor, self.name, None) if self.name not in ("fill", "zero", "copy", "setitem") else None
        return replace(self, function=plain or _anew(self.function))


@functools.cache
def _anew(function: Any) -> Any:
    """An operation that writes to its first argument, done to a copy of it."""

    def anew(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        fresh = x.clone()
        function(fresh, *args, **kwargs)
        return fresh

    anew.__name__ = name_of(function)[0]
    return anew


@functools.cache
def _inplace_parameter(function: Any) -> int | None:
    """Where a function takes ``inplace``."""
    if not inspect.isfunction(function):
        return None
    names = list(inspect.signature(function, follow_wrapped=False).parameters)
    return names.index("inplace") if "inplace" in names else None


def _tensors(things: Any) -> Iterator[Tensor]:
    for thing in things:
        if isinstance(thing, Tensor):
            yield thing
        elif isinstance(thing, (list, tuple)):
            yield from _tensors(thing)


def _mapped(thing: Any, other: Any) -> Any:
    if isinstance(thing, Tensor):
        return other(thing)
    if isinstance(thing, (list, tuple)) and any(isinstance(t, Tensor) for t in thing):
        return type(thing)([_mapped(t, other) for t in thing])
    return thing


def is_reciprocal(call: Call) -> bool:
    """Whether this is one over something, or over a power of it."""
    exponent = call.argument(1, "exponent") if call.name == "pow" else None
    return call.name in ("reciprocal", "rsqrt") or (isinstance(exponent, (int, float)) and exponent < 0)
