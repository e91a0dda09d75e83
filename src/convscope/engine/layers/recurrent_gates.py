"""Every gate and state of LSTM, GRU and plain recurrent layers at each step, recomputed from the weights.

The steps run in double precision for every stacked layer and both directions, and the states are compared with what
the layer itself gave.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convscope.engine.network.hooks import first_tensor
from convscope.engine.network.model import Model
from convscope.engine.ops.recurrent_steps import HIDDEN, RunWeights, State, steps_of_run
from convscope.errors import LayerError

_TOLERANCE = 1e-3
"""How far the recomputed states may be from the layer's own, relative to the largest: rounding of single precision."""

_ROUNDINGS = 16
"""How many roundings of the layer's own precision they may be apart, where that is coarser: half and bfloat16."""


@dataclass(frozen=True, eq=False)
class GateReading:
    """The gates and states of one recurrent layer for a chunk of inputs.

    Attributes:
        series: what they are → the numbers (N, units, steps): ``update gate``, or ``layer 1 backward, hidden state``.
        differences: for each input (N,) the largest difference of the states from the layer's own output.
    """

    series: dict[str, Tensor]
    differences: Tensor


def read_gates(model: Model, tensor: Tensor, layers: Sequence[str]) -> dict[str, GateReading]:
    """The gates of those of the layers that are recurrent, for prepared inputs, in one forward.

    Raises:
        LayerError: a recurrent layer reads a packed sequence or no batch, or its gates do not give its own output.
    """
    modules = dict(model.module.named_modules())
    recurrent = {address: layer for address in layers if isinstance(layer := modules.get(address), nn.RNNBase)}
    calls: dict[str, tuple[Any, Any, Any]] = {}

    def hook_for(address: str) -> Any:
        def hook(_module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            calls[address] = (args, kwargs, output)

        return hook

    handles = [layer.register_forward_hook(hook_for(a), with_kwargs=True) for a, layer in recurrent.items()]
    try:
        if recurrent:
            with torch.no_grad():
                model.run(model.input_copy(tensor))
    finally:
        for handle in handles:
            handle.remove()
    return {address: _reading(recurrent[address], address, *calls[address], len(tensor)) for address in calls}


def _reading(layer: nn.RNNBase, address: str, args: Any, kwargs: Any, output: Any, images: int) -> GateReading:
    given = dict(zip(("input", "hx"), args, strict=False)) | dict(kwargs)
    x, own = given["input"], first_tensor(output)
    if not isinstance(x, Tensor) or not isinstance(own, Tensor):
        raise LayerError(f"layer {address!r} reads a packed sequence, whose gates are not shown: pass padded sequences")
    if x.ndim != 3 or x.shape[0 if layer.batch_first else 1] != images:
        raise LayerError(f"layer {address!r} reads {tuple(x.shape)}, which is not one sequence for each input")
    tolerance = max(_TOLERANCE, _ROUNDINGS * torch.finfo(own.dtype).eps)
    x = (x if layer.batch_first else x.transpose(0, 1)).double()
    own = (own if layer.batch_first else own.transpose(0, 1)).double()
    series, states = _unrolled(layer, x, given.get("hx"))
    differences = (states - own).abs().flatten(1).amax(1)
    if not bool((differences <= tolerance * own.abs().flatten(1).amax(1).clamp_min(1)).all()):
        raise LayerError(
            f"the gates of layer {address!r} recomputed from its weights give states that differ from its own by "
            f"{float(differences.max()):.2g}: its forward is not that of a {type(layer).__name__}"
        )
    return GateReading({name: numbers.transpose(1, 2) for name, numbers in series.items()}, differences)


def _unrolled(layer: nn.RNNBase, x: Tensor, hx: Any) -> tuple[dict[str, Tensor], Tensor]:
    """The series (N, steps, units) of all stacked layers and directions, and the states of the last layer."""
    directions = 2 if layer.bidirectional else 1
    series: dict[str, Tensor] = {}
    for level in range(layer.num_layers):
        outputs = []
        for direction in range(directions):
            run = level * directions + direction
            weights = RunWeights([weight.detach().double() for weight in layer.all_weights[run]], layer.bias)
            initial = _initial(layer, hx, run, x)
            rows = steps_of_run(layer.mode.lower(), x, initial, weights, reverse=direction == 1)
            ordered = rows[::-1] if direction else rows
            steps = {name: torch.stack([row[name] for row in ordered], 1) for name in ordered[0]}
            parts = [f"layer {level}"] if layer.num_layers > 1 else []
            parts += [("forward", "backward")[direction]] if layer.bidirectional else []
            prefix = f"{' '.join(parts)}, " if parts else ""
            series |= {f"{prefix}{name}": numbers for name, numbers in steps.items()}
            outputs.append(steps[HIDDEN])
        x = torch.cat(outputs, -1)
    return series, x


def _initial(layer: nn.RNNBase, hx: Any, run: int, x: Tensor) -> State:
    """The first hidden state (and cell state) of one run; zero where the caller gave none."""
    if hx is not None:
        return tuple(state[run].double() for state in (hx if isinstance(hx, tuple) else (hx,)))
    sizes = (layer.proj_size or layer.hidden_size, layer.hidden_size)
    return tuple(x.new_zeros(len(x), size) for size in sizes[: 2 if layer.mode == "LSTM" else 1])
