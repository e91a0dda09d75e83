"""What layers give for images, read in one forward of which only the chosen channels are kept.

A layer's output is read the moment it is there, before the next operation may overwrite it; nothing of it is copied
but the chosen channels. Before and after the activation is read off the operations: whichever way it is called, the
activation is the next function of one number that is applied to what the layer gave, perhaps behind a norm.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from convscope.engine.layers.component_signs import turned_towards
from convscope.engine.layers.trace import TracedLayer, all_images, layer_at
from convscope.engine.network.hooks import first_tensor, on_forward, refuse_complex
from convscope.engine.network.model import Model
from convscope.engine.network.packaged import unreached
from convscope.engine.network.quantized import dequantized
from convscope.engine.ops.call import Call
from convscope.engine.ops.operation_kinds import GATES, IDENTITIES, NORMS, POINTWISE_ACTIVATIONS
from convscope.errors import LayerError, NotFinite

Side = Literal["as it is", "before", "after"]

_ACTIVATIONS = POINTWISE_ACTIVATIONS | {"prelu", "softmax"}
_MOST_AXES = 3


@dataclass(frozen=True, eq=False)
class Reading:
    """What is kept of one layer for a chunk of images.

    Attributes:
        maps: of each image the chosen channels (k, places …), the strongest first; ``channels`` (N, k) their numbers.
        strengths: the mean of every channel (N, C).
        colours: the channels projected on their first principal components (N, 3, places …), and their ``shares``.
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
) -> dict[str, Reading]:
    """Read layers for prepared inputs in one forward, in the order in which they finish.

    Args:
        keep: how many channels to keep of each, those with the largest mean magnitude; 0 keeps all.
        colours: whether to project all channels on their first principal components.
        side: read the layer's output, what its activation was given, or what the activation that follows it gives.

    Raises:
        LayerError: a layer never ran, gives no maps, or no activation follows it.
        NotFinite: a layer gives NaN or infinite numbers.
    """
    readings: dict[str, Reading] = {}
    traced_layers = {address: layer_at(model, address, tensor) for address in layers}

    def keep_of(address: str, output: Any, where: str = "") -> None:
        readings.pop(address, None)
        readings[address] = _read(_units(output, address, traced_layers[address], len(tensor)), keep, colours, where)

    with _watching(model.module, layers, keep_of, side) as ended, torch.no_grad():
        model.run(model.laid_out(tensor))
    for address in layers:
        if address not in readings:
            raise LayerError(_missing(model, address, ended))
    for address, reading in readings.items():
        _refuse_unsound(address, reading)
    return readings


def _units(output: Any, address: str, layer: TracedLayer, images: int) -> Tensor:
    """A layer's output for so many images as units (N, C, …)."""
    found = first_tensor(output)
    if found is None:
        raise LayerError(f"layer {address!r} gives {type(output).__name__}, not a tensor: choose another layer")
    refuse_complex(found, address)
    found = dequantized(found)
    if 0 in found.shape:
        raise LayerError(
            f"layer {address!r} gives shape {tuple(found.shape)}, which is empty: the input is too small for it, "
            "choose an earlier layer or larger images"
        )
    if layer.layout is None:
        raise LayerError(
            f"layer {address!r} gives shape {tuple(found.shape)}, which {layer.why_not}: choose another layer"
        )
    all_images(layer.layout, address, images, found)
    units = layer.layout.units(found if found.is_floating_point() else found.float())
    # frames of volumes, one behind the other
    return units if units.ndim <= _MOST_AXES + 2 else units.flatten(2, units.ndim - _MOST_AXES)


def _read(tensor: Tensor, keep: int, colours: bool, where: str) -> Reading:
    """The channels of a layer's maps that are largest in magnitude, on the mean over places, copied."""
    tensor = tensor.detach()
    places = tuple(range(2, tensor.ndim))
    kind = tensor.dtype if tensor.dtype == torch.float64 else torch.float32
    summed = torch.linalg.vector_norm(tensor, 1, dim=places, dtype=kind) if places else tensor.abs()
    strengths = (summed / max(1, math.prod(tensor.shape[2:]))).float()
    count = min(keep or strengths.shape[1], strengths.shape[1])
    channels = strengths.topk(count, dim=1).indices
    maps = [_kept(tensor[row].index_select(0, channels[row])) for row in range(len(tensor))]
    projected, shares = _components(tensor) if colours and places else (None, None)
    return Reading(maps, channels.cpu(), _kept(strengths), projected, shares, where)


def _kept(found: Tensor) -> Tensor:
    """Numbers for a value: float32 on the processor, and never a view of the network's own."""
    return found.float().cpu().contiguous()


def _components(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (N, C, …) projected on up to three principal components over places, and the share of variance of each.

    A component's sign is arbitrary: it is turned so that it grows with the mean over channels.
    """
    flat = tensor.flatten(2).cpu().double()
    centred = flat - flat.mean(2, keepdim=True)
    wide = centred.shape[1] > centred.shape[2]
    strengths, vectors = torch.linalg.eigh(centred.mT @ centred if wide else centred @ centred.mT)
    count = min(3, strengths.shape[1])
    best, vectors = strengths[:, -count:].flip(1).clamp_min(0), vectors[..., -count:].flip(2)
    projected = (vectors * best.sqrt()[:, None]).mT if wide else vectors.mT @ centred
    guide, features = centred.sum(1, keepdim=True), tensor.flatten(2).cpu()[:, None]
    projected = turned_towards(projected, guide, features)
    shares = best / strengths.clamp_min(0).sum(1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return projected.reshape(len(tensor), count, *tensor.shape[2:]).float(), shares.float()


def _refuse_unsound(address: str, reading: Reading) -> None:
    broken = int((~torch.isfinite(reading.strengths)).any(0).sum())
    if broken:
        total = reading.strengths.shape[1]
        raise NotFinite(f"layer {address!r} gives NaN or infinite numbers in {broken} of {total} channels")


def _missing(model: "Model", address: str, ended: Mapping[str, str]) -> str:
    if address in ended:
        goes = f"goes to the operation {ended[address]!r} first" if ended[address] else "goes to no other operation"
        return (
            f"no activation follows layer {address!r}: its output {goes}; leave activation out, or choose another layer"
        )
    return unreached(model.module, address)


@contextmanager
def _watching(module: nn.Module, layers: Sequence[str], keep_of: Any, side: Side) -> Iterator[Mapping[str, str]]:
    """Have ``keep_of(address, output, where)`` called for each layer as it runs; yields why one was not read."""
    beside = _Beside(keep_of, side)
    plain = side == "as it is"

    def hook(address: str) -> Any:
        return lambda _module, _inputs, output: (
            keep_of(address, output) if plain else beside.left(address, _tensor_of(output))
        )

    handles = [on_forward(module, address, hook(address)) for address in layers]
    if not plain:
        handles += [module.get_submodule(a).register_forward_pre_hook(beside.entered) for a in layers]
        handles.append(module.register_forward_pre_hook(beside.anew))  # a forward may be begun again
    try:
        with nullcontext() if plain else beside:
            yield beside.ended
    finally:
        for handle in handles:
            handle.remove()


def _tensor_of(output: Any) -> Any:
    found = first_tensor(output)
    return output if found is None else found


class _Beside(TorchFunctionMode):
    """Reads what the activation behind a layer gives, or what the activation within it was given."""

    def __init__(self, keep_of: Any, side: Side) -> None:
        super().__init__()
        self.keep_of, self.side = keep_of, side
        self.ended: dict[str, str] = {}
        self._inside = 0
        self._activated: tuple[str, Tensor, Tensor] | None = None
        """The last activation within a layer: its name, what it was given, what it gave."""
        self._awaiting: dict[str, Tensor] = {}
        self._gated: dict[str, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        call = Call(func, args, kwargs or {})
        if not (self._inside or self._awaiting or self._gated):
            return call.run()
        given = next(call.tensors(), None)
        acts = call.name in _ACTIVATIONS and given is not None
        waiting = {a: t for a, t in self._awaiting.items() if any(t is one for one in call.tensors())}
        copy = given.clone() if acts and given is not None and self._inside and self.side == "before" else given
        out = call.run()
        result = first_tensor(out)
        if result is None:
            return out
        if acts and self._inside and copy is not None:
            self._activated = (call.name, copy, result)
        self._gate(call, result)
        for address, tensor in waiting.items():
            self._follow(address, tensor, call.name, result)
        return out

    def anew(self, *_: Any) -> None:
        """The network begins."""
        self._inside, self._activated = 0, None
        self._awaiting.clear()
        self._gated.clear()

    def entered(self, *_: Any) -> None:
        """A layer that is asked about begins."""
        self._inside += 1

    def left(self, address: str, output: Any) -> None:
        """A layer that is asked about has run."""
        self._inside -= 1
        made_by = self._activated if self._activated is not None and self._activated[2] is output else None
        if self.side == "before":
            self.keep_of(address, *((made_by[1], f"before its {made_by[0]}") if made_by else (output,)))
        elif made_by:
            self.keep_of(address, output)
        elif isinstance(output, Tensor):
            self._awaiting[address] = output
            self.ended[address] = ""
            self._gated.pop(address, None)

    def _follow(self, address: str, tensor: Tensor, name: str, result: Tensor) -> None:
        """What an operation on what a layer gave means: the activation, a step on the way to it, or the end."""
        if name in _ACTIVATIONS:
            self.keep_of(address, result, f"after {name}")
            del self._awaiting[address]
            if name in GATES:  # x · sigmoid(x), written out
                self._gated[address] = (tensor, result)
        elif name in NORMS or (name in IDENTITIES and result.shape == tensor.shape):
            self._awaiting[address] = result
        elif name != "get":
            self.ended[address] = name
            del self._awaiting[address]

    def _gate(self, call: Call, result: Tensor) -> None:
        for address, pair in list(self._gated.items()):
            used = [any(one is t for t in call.tensors()) for one in pair]
            if call.name == "mul" and all(used):
                self.keep_of(address, result, "after x · sigmoid(x)")
            if any(used):
                del self._gated[address]
