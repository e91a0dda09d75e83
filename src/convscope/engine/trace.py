"""What one forward shows of a network: which layers ran, in which order, and what shapes they gave."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.capture import first_tensor, on_forward
from convscope.engine.maps import Tokens, Trace, as_map, require_map, tokens_of

if TYPE_CHECKING:
    from convscope.engine.model import Model

_PASS_THROUGH = (nn.Identity, nn.modules.dropout._DropoutNd)
"""Modules that hand on in eval mode what they were given: the layer before them is the one to name."""


@dataclass(frozen=True)
class Traced:
    """What one forward showed: each layer's output shape in the order of finishing, and what became the answer."""

    shapes: Trace
    classes: int
    handed_on: frozenset[str]
    """The layers whose very output is the network's."""


def traced(model: "Model", tensor: Tensor) -> Traced:
    """Run the model once per input shape and note what its layers give."""
    key = tuple(tensor.shape[1:])
    if key not in model.traces:
        places: dict[str, int] = {}
        shapes, output = run_order(model, tensor[:1], places)
        handed_on = frozenset(a for a, place in places.items() if place == output.data_ptr())
        model.traces[key] = Traced(shapes, output.shape[1], handed_on)
    return model.traces[key]


def calls_of(model: "Model", address: str, tensor: Tensor) -> int:
    """How often a layer runs in one forward; a reused layer is read at its last call."""
    return max(1, sum(name == address for name, _ in traced(model, tensor).shapes))


def token_grid(model: "Model", address: str, tensor: Tensor) -> Tokens | None:
    """How a layer's tokens lie in the input, where it gives tokens."""
    return tokens_of(address, traced(model, tensor).shapes, tuple(tensor.shape[2:]))


def map_at(model: "Model", address: str, tensor: Tensor, activation: Tensor) -> Tensor:
    """What a layer gave for the inputs ``tensor`` as a map (N, C, …), a view of it; refused where it is none."""
    extent = tuple(tensor.shape[2:])
    tokens = token_grid(model, address, tensor) if len(extent) == 2 and activation.ndim == 3 else None
    return require_map(as_map(activation, extent, tokens), address, extent)


def run_order(model: "Model", tensor: Tensor, places: dict[str, int] | None = None) -> tuple[Trace, Tensor]:
    """Each module's output shape in the order in which they finish, and the model's output, from one forward.

    ``places`` is filled with where in memory each output lay.
    """
    shapes: Trace = []
    places = {} if places is None else places

    def note(address: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found = first_tensor(output)
            if found is not None:
                shapes.append((address, tuple(found.shape)))
                places[address] = found.data_ptr()

        return hook

    def anew(*_: Any) -> None:
        shapes.clear()
        places.clear()

    named = [(a, m) for a, m in model.module.named_modules() if a and not isinstance(m, _PASS_THROUGH)]
    handles = [on_forward(model.module, a, note(a)) for a, _ in named]
    if named:  # a forward that is begun again in another memory layout shows itself anew
        handles.append(model.module.register_forward_pre_hook(anew))
    try:
        with torch.no_grad():
            output = model.run(model.laid_out(tensor))
    finally:
        for handle in handles:
            handle.remove()
    return shapes, output
