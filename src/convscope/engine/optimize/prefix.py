"""A network up to the last layer that is read: nothing above it is computed, and no gradient of a weight is formed."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from convscope.engine.layers.addresses import check_address
from convscope.engine.layers.feature_layout import FeatureLayout
from convscope.engine.layers.trace import Traced, traced
from convscope.engine.network.hooks import capture, stopping_at
from convscope.engine.network.model import Model
from convscope.engine.network.packaged import unreached
from convscope.engine.optimize.objectives import OUTPUT
from convscope.errors import LayerError, ModelFailed


class Cut:
    """Reads layers for batches of pictures, and stops the network as soon as all of them have run.

    Args:
        layers: the addresses to read, `OUTPUT` for the network's own output.
        like: one prepared picture (1, C, …), run once to see the order in which layers finish.
    """

    def __init__(self, model: Model, layers: Sequence[str], like: Tensor) -> None:
        self.model = model
        self.layers = tuple(check_address(model.module, a, model.name) for a in dict.fromkeys(layers) if a != OUTPUT)
        self.whole = OUTPUT in layers
        trace = self._trace(like) if self.layers else None
        order = list(trace.order) if trace else []
        for address in self.layers:
            if address not in order:
                raise LayerError(unreached(model.module, address, ""))
        self.last = max(self.layers, key=lambda a: max(i for i, name in enumerate(order) if name == a), default=None)
        self.calls = order.count(self.last) if self.last else 0
        self.layouts = {a: _layout(trace, a) for a in self.layers} if trace else {}

    def read(self, batch: Tensor) -> dict[str, Tensor]:
        """What the layers give for a batch, as maps (N, C, …) in float32 (or float64, where the network has it)."""
        stop = (
            stopping_at(self.model.module, self.last, call=self.calls)
            if self.last and not self.whole
            else nullcontext()
        )
        seen: dict[str, Tensor] = {}
        with capture(self.model.module, self.layers) as caught, stop:
            output = self.model.run(batch)
            seen[OUTPUT] = _precise(output)
        for address in self.layers:
            seen[address] = _precise(self.layouts[address].units(caught[address]))
        return seen

    def _trace(self, like: Tensor) -> Traced:
        """The order of layers; of a head that takes another size only, seen at the input's own size."""
        try:
            return traced(self.model, like)
        except ModelFailed:
            from convscope.engine.optimize.canvas import canvas_of

            own = canvas_of(self.model)
            if self.whole or own.extent == tuple(like.shape[2:]):
                raise
            return traced(self.model, torch.zeros(1, *own.shape, device=like.device, dtype=like.dtype))


def _layout(trace: Traced, address: str) -> FeatureLayout:
    layer = trace.layers[address]
    if layer.layout is None:
        raise LayerError(f"layer {address!r} gives shape {layer.shape}, which {layer.why_not}: choose another layer")
    return layer.layout


def _precise(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
