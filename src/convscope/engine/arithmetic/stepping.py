"""A layer's unit worked out at one place of each image, and what follows it there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.arithmetic.places import channel_axis, place_of, unit_at
from convscope.engine.arithmetic.recipes import CHANNELS_FIRST, MOVING, RECIPES, STARTING
from convscope.engine.arithmetic.watching import Chain, watching
from convscope.engine.arithmetic.worked import Operation, Place, Worked, exact
from convscope.engine.layers import UnitAddress
from convscope.engine.trace import token_grid
from convscope.errors import LayerError, NotFinite

if TYPE_CHECKING:
    from convscope.engine.model import Model


@dataclass(frozen=True, eq=False)
class Taken:
    """One step: the operation's name, how it is worked out, the network's own number, and whether it follows."""

    operation: str
    worked: Worked
    network: float
    follows: bool


@dataclass(eq=False)
class Stepped:
    """All steps of one image at one unit.

    Attributes:
        output: the unit's whole map in the layer's output.
    """

    unit: UnitAddress
    place: Place
    output: Tensor
    steps: list[Taken] = field(default_factory=list)


def stepped(model: "Model", tensor: Tensor, address: str, unit: int | None, position: tuple[int, ...]) -> list[Stepped]:
    """The arithmetic of a layer's last call for each of the inputs ``tensor``.

    Raises:
        LayerError: the layer is made of parts, or did not run; the message names the parts that can be stepped through.
    """
    axis_and_tokens = token_grid(model, address, tensor)
    found: list[Stepped] = []

    def made(chain: Chain) -> None:
        out = chain[-1].out
        if not watch.follows:
            found.clear()
            axis = 1 if _channels_first(chain) else channel_axis(tuple(out.shape), tuple(tensor.shape[2:]))
            for row in range(len(tensor)):
                place = place_of(out, row, address, unit, position, axis, axis_and_tokens)
                own = out[row].select(axis - 1, place[axis])
                one = Stepped(unit_at(address, place, axis, axis_and_tokens), place, exact(own).float())
                one.steps = worked_out(chain, place, follows=False)
                found.append(one)
            return
        (operation,) = chain
        for one in found:
            if operation.call.name in MOVING:
                one.place = _moved(operation, one.place, onwards=True)
            else:
                one.steps += worked_out(chain, one.place, follows=True)

    with torch.no_grad(), watching(model.module, address, made) as watch:
        model.run(model.laid_out(tensor))
    if not found:
        raise LayerError(_why_not(model, address, tensor, watch.ran))
    return found


def worked_out(chain: Sequence[Operation], place: Place, *, follows: bool) -> list[Taken]:
    """The operations of a chain at a place of the last one's output, the first one first."""
    found = []
    for operation in reversed(chain):
        name = operation.call.name
        if name in MOVING:
            place = _moved(operation, place, onwards=False)
            continue
        network = float(exact(operation.out[place]))
        worked = RECIPES[name](operation, place)
        if not torch.tensor([network, worked.value], dtype=torch.float64, device="cpu").isfinite().all():
            raise NotFinite(f"the value at {place[1:]} is NaN or infinite after the operation {name!r}")
        found.append(Taken(name, worked, network, follows))
        if name in STARTING:
            break
    return found[::-1]


def _channels_first(chain: Chain) -> bool:
    """Whether the operations themselves say that channels come behind the image."""
    names = [one.call.name for one in chain]
    return any(name in CHANNELS_FIRST for name in names) and not any(name in MOVING for name in names)


def _moved(operation: Operation, place: Place, *, onwards: bool) -> Place:
    """Where a number of the input of an operation that only moves numbers comes to lie, or where one came from."""
    source = next(operation.call.tensors())
    numbered = torch.arange(source.numel(), device="cpu").reshape(source.shape)
    moved = operation.call.on(numbered)
    if onwards:
        return tuple(int(i) for i in torch.nonzero(moved == numbered[place])[0])
    return tuple(int(i) for i in torch.unravel_index(moved[place], source.shape))


def _why_not(model: "Model", address: str, tensor: Tensor, ran: bool) -> str:
    if not ran:
        return f"layer {address!r} was never reached in this forward: choose another layer"
    module = model.module.get_submodule(address)
    parts = [f"{address}.{name}" for name, m in module.named_modules() if name and not list(m.children())]
    able = [part for part in parts if _can_be_stepped(model, part, tensor)]
    kind = f"layer {address!r} ({type(module).__name__})"
    if able:
        named = ", ".join(repr(part) for part in able[:12]) + (f" and {len(able) - 12} more" if len(able) > 12 else "")
        return f"{kind} is made of parts: step through one of {named}"
    if parts:
        return f"{kind} is made of parts, none of which is a single operation: choose another layer"
    return f"{kind} does nothing that could be worked out at one place: choose a convolution, a norm or an activation"


def _can_be_stepped(model: "Model", address: str, tensor: Tensor) -> bool:
    with torch.no_grad(), watching(model.module, address, lambda _chain: None) as watch:
        model.run(model.laid_out(tensor[:1]))
    return watch.ran and watch.single and any(one.call.name in RECIPES for one in watch.chain)
