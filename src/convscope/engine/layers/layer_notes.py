"""What is said on a value of the layers it looks at: how their outputs lie, and why the default one was chosen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from convscope.engine.layers.default_layer import on_every_path
from convscope.engine.layers.trace import TracedLayer, traced

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

LAYERS = "layers"
"""The key of the table of layers among the notes; pictures leave tables to the manifest."""


def layer_notes(model: "Model", tensor: Tensor, addresses: Sequence[str], *, chosen: bool) -> dict[str, Any]:
    """Notes on the layers that a lens looked at, for inputs like ``tensor``.

    Args:
        chosen: whether they were found by running the network, nobody having named them.
    """
    layers = traced(model, tensor).layers
    known = {address: layers[address] for address in addresses if address in layers}
    table = {address: {"layout": _layout(layer)} for address, layer in known.items()}
    notes: dict[str, Any] = {}
    for address, layer in known.items():
        if chosen and len(known) == 1:
            every = on_every_path(model, tensor, address)
            table[address]["chosen"] = _EVERY if every else _SOME
            if not every:
                notes["default layer"] = f"{address!r}: {_SOME}"
        if layer.layout is not None and layer.layout.frames > 1 and not layer.layout.flat:
            count = layer.layout.frames
            notes["frames"] = (
                f"layer {address!r} gives {count} maps for each image (frames, views or heads); they are added"
            )
    return {**notes, LAYERS: table} if table else notes


_EVERY = "the last layer with spatial extent that everything from the input to the answer goes through"
_SOME = "no single layer is on every path to the answer; this is the last of those that most paths go through"


def _layout(layer: TracedLayer) -> str:
    if layer.layout is None:
        return f"unknown: {layer.why_not}"
    how = "as given" if layer.given else "from running other inputs" if layer.probed else "from what operations did"
    return f"{layer.layout.words}, {how}"
