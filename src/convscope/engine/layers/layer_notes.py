"""The notes of a value on the layers it reads: the layout of their outputs, and why the default one was chosen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from convscope.engine.layers.default_layer import is_default_of_task, on_every_path
from convscope.engine.layers.layer_trace import trace_layers
from convscope.engine.layers.traced_layer import TracedLayer
from convscope.values.facts import Fact

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

LAYERS = "layers"
"""The key of the table of layers in the notes; tables are not drawn in figures."""


def layer_notes(model: "Model", tensor: Tensor, addresses: Sequence[str], *, chosen: bool) -> dict[str, Any]:
    """Notes on the layers that a lens read, for inputs like ``tensor``.

    Args:
        chosen: whether the layers are the default, found by running the network.
    """
    layers = trace_layers(model, tensor).layers
    traced = {address: layers[address] for address in addresses if address in layers}
    table = {address: {"layout": _describe_layout(layer)} for address, layer in traced.items()}
    notes: dict[str, Any] = {}
    for address, layer in traced.items():
        if chosen and len(traced) == 1:
            on_all_paths = on_every_path(model, tensor, address)
            why = _OF_TASK if is_default_of_task(model, tensor, address) else _ON_MOST_PATHS
            table[address]["chosen"] = _ON_EVERY_PATH if on_all_paths else why
            if not on_all_paths:
                notes["default layer"] = Fact("{layer}: {why}", layer=repr(address), why=why)
        if layer.layout is not None and layer.layout.frames > 1 and not layer.layout.flat:
            count = layer.layout.frames
            notes["frames"] = Fact(
                "layer {layer} gives {count} maps for each image (frames, views or heads); they are added",
                layer=repr(address),
                count=count,
            )
    return {**notes, LAYERS: table} if table else notes


_ON_EVERY_PATH = "the last layer with spatial extent that everything from the input to the answer goes through"
_ON_MOST_PATHS = Fact(
    "no single layer is on every path to the answer; this is the last of those that most paths go through"
)
_OF_TASK = Fact("the last map of the backbone, behind which several branches lead to the output")


def _describe_layout(layer: TracedLayer) -> str:
    if layer.layout is None:
        return f"unknown: {layer.unknown_reason}"
    source = (
        "as given" if layer.declared else "from running other inputs" if layer.probed else "from what operations did"
    )
    return f"{layer.layout.notation}, {source}"
