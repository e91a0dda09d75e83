"""The feature maps of layers, read in one forward pass of which only the selected channels are kept.

A layer's output is read as soon as it is computed, before the next operation may overwrite it; only the selected
channels are copied. The activation function before or after which a layer can be read is found in the operations: it is
the next elementwise nonlinearity applied to the layer's output, possibly after a norm, however it is called.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from convscope.engine.context.free_memory import require_memory
from convscope.engine.layers.component_signs import align_signs
from convscope.engine.layers.layer_trace import require_all_images, traced_layer
from convscope.engine.layers.traced_layer import TracedLayer
from convscope.engine.network.hooks import first_tensor, on_forward, refuse_complex
from convscope.engine.network.model import Model
from convscope.engine.network.quantized import dequantized
from convscope.engine.network.scripted_modules import unreached_message
from convscope.engine.ops.call import Call
from convscope.engine.ops.operation_kinds import GATES, IDENTITIES, NORMS, POINTWISE_ACTIVATIONS
from convscope.errors import LayerError, NotFinite
from convscope.values.facts import Fact

Side = Literal["as it is", "before", "after"]

_ACTIVATIONS = POINTWISE_ACTIVATIONS | {"prelu", "softmax"}
_MOST_AXES = 3
_BYTES = 4
"""Of a number of a map, which is kept in single precision."""


@dataclass(frozen=True, eq=False)
class MapReading:
    """The feature maps of one layer for a chunk of images.

    Attributes:
        maps: for each image the selected channels (k, positions …), the strongest first.
        channels: their indices (N, k).
        strengths: the mean magnitude of every channel (N, C).
        colours: the channels projected on their first principal components (N, 3, positions …).
        shares: the share of variance of each component.
        where: where it was read, if not at the layer's own output.
    """

    maps: Sequence[Tensor]
    channels: Tensor
    strengths: Tensor
    colours: Tensor | None = None
    shares: Tensor | None = None
    where: str = ""


def read_maps(
    model: Model, tensor: Tensor, layers: Sequence[str], *, keep: int, colours: bool, side: Side
) -> dict[str, MapReading]:
    """Read layers for prepared inputs in one forward, in the order in which they finish.

    Args:
        keep: how many channels to keep of each, those with the largest mean magnitude; 0 keeps all.
        colours: whether to project all channels on their first principal components.
        side: read the layer's output, the input of its activation function, or the output of the one that follows.

    Raises:
        LayerError: a layer never ran, has no maps, or no activation follows it.
        NotFinite: a layer's output holds NaN or infinite numbers.
    """
    readings: dict[str, MapReading] = {}
    traced_layers = {address: traced_layer(model, address, tensor) for address in layers}

    def on_output(address: str, output: Any, where: str = "") -> None:
        readings.pop(address, None)
        readings[address] = _to_reading(
            _units(output, address, traced_layers[address], len(tensor)), keep, colours, where
        )

    with _reading_layers(model.module, layers, on_output, side) as blocking_operations, torch.no_grad():
        model.run(model.input_copy(tensor))
    for address in layers:
        if address not in readings:
            raise LayerError(_not_read_message(model, address, blocking_operations))
    _check_finite(readings)
    return readings


def require_memory_of_maps(model: Model, tensor: Tensor, layers: Sequence[str], *, keep: int) -> None:
    """Refuse maps of layers for inputs (N, C, …) that need more memory than is free.

    Raises:
        TooLittleMemory: the message says how much is needed, and for which layers.
    """
    sizes: dict[str, int] = {}
    for address in layers:
        layout = traced_layer(model, address, tensor).layout
        if layout is not None:
            channels = min(keep or layout.channel_count, layout.channel_count)
            sizes[address] = _BYTES * len(tensor) * channels * math.prod(layout.extent)
    if sizes:
        largest = max(sizes, key=lambda address: sizes[address])
        subject = f"keeping the feature maps of {len(sizes)} layers (most of them of {largest!r})"
        remedy = "choose fewer layers with layer=, fewer channels with channels=, or smaller or fewer inputs"
        require_memory(sum(sizes.values()), torch.device("cpu"), subject, remedy)


def _units(output: Any, address: str, layer: TracedLayer, images: int) -> Tensor:
    """A layer's output for ``images`` images as units (N, C, …)."""
    tensor = first_tensor(output)
    if tensor is None:
        raise LayerError(f"layer {address!r} gives {type(output).__name__}, not a tensor: choose another layer")
    refuse_complex(tensor, address)
    tensor = dequantized(tensor)
    if 0 in tensor.shape:
        raise LayerError(
            f"layer {address!r} gives shape {tuple(tensor.shape)}, which is empty: the input is too small for it, "
            "choose an earlier layer or larger images"
        )
    if layer.layout is None:
        raise LayerError(
            f"layer {address!r} gives shape {tuple(tensor.shape)}, which {layer.unknown_reason}: choose another layer"
        )
    require_all_images(layer.layout, address, images, tensor)
    units = layer.layout.units(tensor if tensor.is_floating_point() else tensor.float())
    # frames of volumes are concatenated along the first axis
    return units if units.ndim <= _MOST_AXES + 2 else units.flatten(2, units.ndim - _MOST_AXES)


def _to_reading(tensor: Tensor, keep: int, colours: bool, where: str) -> MapReading:
    """Copy the channels of a layer's maps with the largest mean magnitude over positions."""
    tensor = tensor.detach()
    spatial = tuple(range(2, tensor.ndim))
    dtype = tensor.dtype if tensor.dtype == torch.float64 else torch.float32
    magnitude = tensor.abs()
    sums = magnitude.sum(spatial, dtype=dtype) if spatial else magnitude  # on a CPU several times faster than a norm
    strengths = (sums / max(1, math.prod(tensor.shape[2:]))).float()
    count = min(keep or strengths.shape[1], strengths.shape[1])
    channels = strengths.topk(count, dim=1).indices
    rows = zip(tensor.unbind(), channels.unbind(), strict=True)
    maps = [_to_result(image.index_select(0, strongest)) for image, strongest in rows]
    projected, shares = _components(tensor) if colours and spatial else (None, None)
    return MapReading(maps, channels.cpu(), _to_result(strengths), projected, shares, where)


def series_as_maps(address: str, series: Mapping[str, Tensor], *, keep: int) -> dict[str, MapReading]:
    """Numbers of a layer (N, units, steps) as further maps of it, all with the units whose state is strongest."""
    readings: dict[str, MapReading] = {}
    for name, numbers in series.items():
        state = series.get(f"{name.rpartition(', ')[0]}, hidden state".removeprefix(", "), numbers)
        state = state if state.shape == numbers.shape else numbers  # a projected state has other units
        strengths = state.abs().mean(2)
        units = strengths.topk(min(keep or strengths.shape[1], strengths.shape[1]), dim=1).indices
        maps = [_to_result(own.index_select(0, chosen)) for own, chosen in zip(numbers, units, strict=True)]
        magnitudes = _to_result(numbers.abs().mean(2))
        readings[f"{address}: {name}"] = MapReading(maps, units.cpu(), magnitudes, where="recomputed from its weights")
    return readings


def _to_result(tensor: Tensor) -> Tensor:
    """A tensor for a result: float32 on the CPU, and never a view of the network's own memory."""
    return tensor.float().cpu().contiguous()


def _components(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Project maps (N, C, …) on up to three principal components over positions; also the share of variance of each.

    A component's sign is arbitrary: it is chosen so that the projection correlates with the mean over channels.
    """
    flat = tensor.flatten(2).cpu().double()
    centered = flat - flat.mean(2, keepdim=True)
    more_channels = centered.shape[1] > centered.shape[2]
    eigenvalues, eigenvectors = torch.linalg.eigh(centered.mT @ centered if more_channels else centered @ centered.mT)
    count = min(3, eigenvalues.shape[1])
    leading, eigenvectors = eigenvalues[:, -count:].flip(1).clamp_min(0), eigenvectors[..., -count:].flip(2)
    projected = (eigenvectors * leading.sqrt()[:, None]).mT if more_channels else eigenvectors.mT @ centered
    guide, features = centered.sum(1, keepdim=True), tensor.flatten(2).cpu()[:, None]
    projected = align_signs(projected, guide, features)
    shares = leading / eigenvalues.clamp_min(0).sum(1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return projected.reshape(len(tensor), count, *tensor.shape[2:]).float(), shares.float()


def _check_finite(readings: Mapping[str, MapReading]) -> None:
    if torch.isfinite(torch.cat([reading.strengths for reading in readings.values()], dim=1)).all():
        return
    for address, reading in readings.items():
        broken = int((~torch.isfinite(reading.strengths)).any(0).sum())
        if broken:
            total = reading.strengths.shape[1]
            raise NotFinite(f"layer {address!r} gives NaN or infinite numbers in {broken} of {total} channels")


def _not_read_message(model: "Model", address: str, blocking_operations: Mapping[str, str]) -> str:
    if address in blocking_operations:
        operation = blocking_operations[address]
        usage = f"goes to the operation {operation!r} first" if operation else "goes to no other operation"
        return (
            f"no activation follows layer {address!r}: its output {usage}; leave activation out, or choose another "
            "layer"
        )
    return unreached_message(model.module, address)


@contextmanager
def _reading_layers(
    module: nn.Module, layers: Sequence[str], on_output: Any, side: Side
) -> Iterator[Mapping[str, str]]:
    """Call ``on_output(address, output, where)`` for each layer as it runs.

    Yields:
        For layers that no activation function follows, the operation that follows instead.
    """
    reader = _ActivationReader(on_output, side)
    at_output = side == "as it is"

    def hook(address: str) -> Any:
        return lambda _module, _inputs, output: (
            on_output(address, output) if at_output else reader.leave(address, _first_tensor_or_output(output))
        )

    handles = [on_forward(module, address, hook(address)) for address in layers]
    if not at_output:
        handles += [module.get_submodule(a).register_forward_pre_hook(reader.enter) for a in layers]
        handles.append(module.register_forward_pre_hook(reader.reset))  # a forward pass may be restarted
    try:
        with nullcontext() if at_output else reader:
            yield reader.blocking_operations
    finally:
        for handle in handles:
            handle.remove()


def _first_tensor_or_output(output: Any) -> Any:
    tensor = first_tensor(output)
    return output if tensor is None else tensor


class _ActivationReader(TorchFunctionMode):
    """Reads the output of the activation function that follows a layer, or the input of the one within it."""

    def __init__(self, on_output: Any, side: Side) -> None:
        super().__init__()
        self.on_output, self.side = on_output, side
        self.blocking_operations: dict[str, str] = {}
        self._depth = 0
        self._last_activation: tuple[str, Tensor, Tensor] | None = None
        """The last activation function within a layer: its name, its input, its output."""
        self._pending: dict[str, Tensor] = {}
        self._gates: dict[str, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        call = Call(func, args, kwargs or {})
        if not (self._depth or self._pending or self._gates):
            return call.run()
        input_ = next(call.tensors(), None)
        is_activation = call.name in _ACTIVATIONS and input_ is not None
        pending = {
            address: tensor
            for address, tensor in self._pending.items()
            if any(tensor is argument for argument in call.tensors())
        }
        original = (
            input_.clone() if is_activation and input_ is not None and self._depth and self.side == "before" else input_
        )
        out = call.run()
        result = first_tensor(out)
        if result is None:
            return out
        if is_activation and self._depth and original is not None:
            self._last_activation = (call.name, original, result)
        self._check_gates(call, result)
        for address, tensor in pending.items():
            self._follow_output(address, tensor, call.name, result)
        return out

    def reset(self, *_: Any) -> None:
        """Called when the network starts."""
        self._depth, self._last_activation = 0, None
        self._pending.clear()
        self._gates.clear()

    def enter(self, *_: Any) -> None:
        """Called when one of the layers starts."""
        self._depth += 1

    def leave(self, address: str, output: Any) -> None:
        """Called when one of the layers has run."""
        self._depth -= 1
        activation = (
            self._last_activation if self._last_activation is not None and self._last_activation[2] is output else None
        )
        if self.side == "before":
            where = () if activation is None else (Fact("before its {activation}", activation=activation[0]),)
            self.on_output(address, output if activation is None else activation[1], *where)
        elif activation:
            self.on_output(address, output)
        elif isinstance(output, Tensor):
            self._pending[address] = output
            self.blocking_operations[address] = ""
            self._gates.pop(address, None)

    def _follow_output(self, address: str, tensor: Tensor, name: str, result: Tensor) -> None:
        """Classify an operation on a layer's output: the activation, a step towards it, or anything else."""
        if name in _ACTIVATIONS:
            self.on_output(address, result, Fact("after {activation}", activation=name))
            del self._pending[address]
            if name in GATES:  # x · sigmoid(x), written as two operations
                self._gates[address] = (tensor, result)
        elif name in NORMS or (name in IDENTITIES and result.shape == tensor.shape):
            self._pending[address] = result
        elif name != "get":
            self.blocking_operations[address] = name
            del self._pending[address]

    def _check_gates(self, call: Call, result: Tensor) -> None:
        for address, pair in list(self._gates.items()):
            used = [any(part is argument for argument in call.tensors()) for part in pair]
            if call.name == "mul" and all(used):
                self.on_output(address, result, "after x · sigmoid(x)")
            if any(used):
                del self._gates[address]
