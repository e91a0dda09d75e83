"""From a recorded forward to the plain data of a `Structure`."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from torch import nn

from convscope.engine.graph.record import Graph, Visit
from convscope.engine.graph.recorder import Step
from convscope.engine.graph.seen import Seen
from convscope.values import Module, Operation, Structure

if TYPE_CHECKING:
    from convscope.engine.model import Model


def structure_of(model: "Model", graph: Graph, *, depth: int = 0) -> Structure:
    """What a recorded forward says of a network."""
    sizes = {id(p): p.numel() for p in model.module.parameters()}
    weight_bytes = sum(p.numel() * p.element_size() for p in model.module.parameters())
    operations = tuple(_operation(step, graph, sizes) for step in graph.steps)
    notes: dict[str, object] = {}
    if graph.uncounted:
        notes["operations without a count of FLOPs"] = graph.uncounted
    if graph.guessed:
        notes["operations taken to see all they read"] = graph.guessed
    if graph.hidden:
        where = ", ".join(address or "the network itself" for address in graph.hidden)
        notes["scripted, so that only its operations show and not its modules"] = where
    return Structure(
        name=model.name,
        input=graph.input,
        modules=tuple(
            _module(a, one, graph) for a, one in model.module.named_modules() if not _within(a, graph.hidden)
        ),
        operations=operations,
        parameters=sum(sizes.values()),
        flops=sum(step.flops for step in graph.steps),
        norm_flops=sum(step.norm_flops for step in graph.steps),
        parameter_bytes=weight_bytes,
        activation_bytes=sum(step.bytes for step in graph.steps),
        depth=depth,
        notes=notes,
    )


def _operation(step: Step, graph: Graph, sizes: dict[int, int]) -> Operation:
    size, local, stride, centre = sight(step.seen, graph)
    return Operation(
        kind=step.kind,
        name=step.operation,
        module=step.module,
        calls=step.calls,
        parents=step.parents,
        moves=step.moves,
        dtype=step.dtype,
        shape=step.shape,
        parameters=sum(sizes[weight] for weight in step.weights),
        flops=step.flops,
        norm_flops=step.norm_flops,
        bytes=step.bytes,
        field=size,
        local=local,
        stride=stride,
        centre=centre,
    )


def _module(address: str, module: nn.Module, graph: Graph) -> Module:
    visit = graph.visits.get(address, Visit((), None, (), 0, 0))
    inside = [s for s in graph.steps if not address or s.module == address or s.module.startswith(f"{address}.")]
    seen = visit.seen if visit.calls or not inside else inside[-1].seen
    size, local, stride, centre = sight(seen, graph)
    return Module(
        address=address,
        kind=getattr(module, "original_name", type(module).__name__),
        detail=_detail(module),
        calls=visit.calls or min(1, len(inside)),
        first=visit.first if visit.calls else graph.steps.index(inside[0]) if inside else len(graph.steps),
        leaf=next(module.children(), None) is None or address in graph.hidden,
        shape=visit.shape or (inside[-1].shape if inside else ()),
        parameters=sum(p.numel() for p in module.parameters()),
        flops=sum(step.flops for step in inside),
        norm_flops=sum(step.norm_flops for step in inside),
        bytes=sum(step.bytes for step in inside),
        field=size,
        local=local,
        stride=stride,
        centre=centre,
    )


def _within(address: str, hidden: Sequence[str]) -> bool:
    """Whether a module lies inside one whose insides are hidden."""
    return any(address != other and (not other or address.startswith(f"{other}.")) for other in hidden)


def sight(
    seen: Sequence[Seen], graph: Graph
) -> tuple[tuple[int | None, ...], tuple[int | None, ...], tuple[float | None, ...], tuple[float | None, ...]]:
    """The receptive field, its local part, the stride and the centre, along each axis of the input."""
    sizes = tuple(_size(axis, extent) for axis, extent in zip(seen, graph.input[2:], strict=False))
    lines = [axis.line for axis in seen]
    local = tuple(None if line is None else line.size for line in lines)
    stride = tuple(None if line is None else line.jump for line in lines)
    centre = tuple(None if line is None or not math.isfinite(line.centre) else line.centre for line in lines)
    return sizes, local, stride, centre


def _size(axis: Seen, extent: int) -> int | None:
    """How many input positions one position sees; None for the whole input, 0 for none."""
    widest = axis.widest
    if widest == 0 or (axis.line is not None and not axis.whole):
        return 0 if widest == 0 or axis.line is None else axis.line.size
    return None if widest >= extent else widest


def _detail(module: nn.Module) -> str:
    """What tells a layer with windows from others of its class: ``3×3 /2``, ``7×7 depthwise``."""
    kernel = getattr(module, "kernel_size", None)
    if not isinstance(kernel, (int, tuple)):
        return ""
    axes = next((int(c) for c in type(module).__name__ if c in "123"), 1)
    words = [_sides((kernel,) * axes if isinstance(kernel, int) else kernel)]
    stride, dilation = getattr(module, "stride", 1), getattr(module, "dilation", 1)
    stride = kernel if stride is None else stride  # how LP pooling keeps a stride that was not given
    words += [f"/{_once(stride)}"] if set(_several(stride)) - {1} else []
    words += [f"dilation {_once(dilation)}"] if set(_several(dilation)) - {1} else []
    groups, channels = getattr(module, "groups", 1), getattr(module, "in_channels", 0)
    words += ["depthwise" if groups == channels else f"{groups} groups"] if groups > 1 else []
    return " ".join(words)


def _sides(size: int | Iterable[int]) -> str:
    return "×".join(str(n) for n in _several(size))


def _once(size: int | Iterable[int]) -> str:
    several = _several(size)
    return str(several[0]) if len(set(several)) == 1 else _sides(several)


def _several(size: int | Iterable[int]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)
