"""A layer's unit worked out at one place of each image, and what follows it there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.arithmetic.evaluate import Operation, Place, Worked, exact
from convscope.engine.arithmetic.op_table import MOVING, RECIPES, STARTING
from convscope.engine.arithmetic.places import place_of, unit_of
from convscope.engine.arithmetic.tracing import Chain, watching
from convscope.engine.layers.addresses import UnitAddress
from convscope.engine.layers.trace import layout_of
from convscope.engine.network.hooks import refuse_complex
from convscope.engine.network.packaged import unreached
from convscope.engine.network.parametrized import kind_of, weight_modules
from convscope.engine.network.quantized import packed_weights
from convscope.errors import LayerError, NotFinite

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


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
    if packed_weights(dict(model.module.named_modules())[address]):
        raise LayerError(
            f"layer {address!r} is quantised (it computes with int8 numbers), whose arithmetic is not worked out: "
            "choose a layer in floating point, or step through the network as it was before it was quantised"
        )
    layout = layout_of(model, address, tensor)
    found: list[Stepped] = []

    def made(chain: Chain) -> None:
        if not watch.follows and all(one.call.name in MOVING for one in chain):
            raise LayerError(_only_moves(model, address))
        out = chain[-1].out
        refuse_complex(out, address)
        if not watch.follows:
            found.clear()
            units = layout.units(out)
            for row in range(len(tensor)):
                number, at = unit_of(units, row, address, unit, position)
                named = UnitAddress(address, number, at)
                place = place_of(out, layout, row, named)
                stepped_unit = Stepped(named, place, exact(units[row, number]).float())
                stepped_unit.steps = worked_out(chain, place, follows=False)
                found.append(stepped_unit)
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
        return unreached(model.module, address)
    module = model.module.get_submodule(address)
    weights = weight_modules(model.module)
    parts = [f"{address}.{name}" for name, m in module.named_modules() if name and not list(m.children())]
    parts = [part for part in parts if part not in weights]
    able = [part for part in parts if _can_be_stepped(model, part, tensor)]
    kind = f"layer {address!r} ({kind_of(module)})"
    if able:
        named = ", ".join(repr(part) for part in able[:12]) + (f" and {len(able) - 12} more" if len(able) > 12 else "")
        return f"{kind} is made of parts: step through one of {named}"
    if parts:
        return f"{kind} is made of parts, none of which is a single operation: choose another layer"
    return f"{kind} does nothing that could be worked out at one place: choose a convolution, a norm or an activation"


def _only_moves(model: "Model", address: str) -> str:
    kind = type(model.module.get_submodule(address)).__name__
    return (
        f"layer {address!r} ({kind}) only moves numbers to other places, so that there is nothing to work out: "
        "choose the layer before it, a convolution, a norm or an activation"
    )


def _can_be_stepped(model: "Model", address: str, tensor: Tensor) -> bool:
    with torch.no_grad(), watching(model.module, address, lambda _chain: None) as watch:
        model.run(model.laid_out(tensor[:1]))
    return watch.ran and watch.single and any(one.call.name in RECIPES for one in watch.chain)
