"""A network up to the last layer that the objective reads: later layers are not computed."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from convscope.engine.layers.addresses import check_address
from convscope.engine.layers.feature_layout import FeatureLayout
from convscope.engine.layers.layer_trace import LayerTrace, trace_layers
from convscope.engine.network.hooks import capture, stop_at
from convscope.engine.network.model import Model
from convscope.engine.network.scripted_modules import unreached_message
from convscope.engine.optimize.objectives import OUTPUT
from convscope.errors import LayerError, ModelFailed


class TruncatedNetwork:
    """Returns activations of layers for batches of pictures, and stops the forward pass once all of them have run.

    Args:
        layers: the addresses to read, `OUTPUT` for the network's output.
        sample: one prepared picture (1, C, …), run once to find the order in which layers finish.
    """

    def __init__(self, model: Model, layers: Sequence[str], sample: Tensor) -> None:
        self.model = model
        self.layers = tuple(check_address(model.module, a, model.name) for a in dict.fromkeys(layers) if a != OUTPUT)
        self.reads_output = OUTPUT in layers
        trace = self._trace(sample) if self.layers else None
        order = list(trace.order) if trace else []
        for address in self.layers:
            if address not in order:
                raise LayerError(unreached_message(model.module, address, ""))
        self.last = max(self.layers, key=lambda a: max(i for i, name in enumerate(order) if name == a), default=None)
        self.calls = order.count(self.last) if self.last else 0
        self.layouts = {a: _layout(trace, a) for a in self.layers} if trace else {}

    def activations(self, batch: Tensor) -> dict[str, Tensor]:
        """The activations of a batch, as maps (N, C, …) in float32 (or float64, where the network computes in it)."""
        stop = (
            stop_at(self.model.module, self.last, call=self.calls)
            if self.last and not self.reads_output
            else nullcontext()
        )
        activations: dict[str, Tensor] = {}
        with capture(self.model.module, self.layers) as captured, stop:
            output = self.model.run(batch)
            activations[OUTPUT] = _at_least_float32(output)
        for address in self.layers:
            activations[address] = _at_least_float32(self.layouts[address].units(captured[address]))
        return activations

    def _trace(self, sample: Tensor) -> LayerTrace:
        """The trace of the sample; where the network's head rejects its size, the trace at the network's input size."""
        try:
            return trace_layers(self.model, sample)
        except ModelFailed:
            from convscope.engine.optimize.picture_space import picture_space_of

            space = picture_space_of(self.model)
            if self.reads_output or space.extent == tuple(sample.shape[2:]):
                raise
            return trace_layers(self.model, torch.zeros(1, *space.shape, device=sample.device, dtype=sample.dtype))


def _layout(trace: LayerTrace, address: str) -> FeatureLayout:
    layer = trace.layers[address]
    if layer.layout is None:
        raise LayerError(
            f"layer {address!r} gives shape {layer.shape}, which {layer.unknown_reason}: choose another layer"
        )
    return layer.layout


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
