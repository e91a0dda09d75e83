"""Every gate and state of LSTM, GRU and plain recurrent layers at each step, recomputed from the weights.

PyTorch computes a recurrent layer in one operation that returns its states alone. The equations of its documentation
are therefore written out here, in double precision, for every stacked layer and both directions, and the states are
compared with what the layer itself gave.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convscope.engine.network.hooks import first_tensor
from convscope.engine.network.model import Model
from convscope.errors import LayerError

_TOLERANCE = 1e-3
"""How far the recomputed states may be from the layer's own, relative to the largest: rounding of single precision."""


@dataclass(frozen=True, eq=False)
class GateReading:
    """The gates and states of one recurrent layer for a chunk of inputs.

    Attributes:
        series: what they are → the numbers (N, units, steps): ``update gate``, or ``layer 1 backward, hidden state``.
        difference: the largest difference of the states from the layer's own output.
    """

    series: dict[str, Tensor]
    difference: float


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
    x = (x if layer.batch_first else x.transpose(0, 1)).double()
    own = (own if layer.batch_first else own.transpose(0, 1)).double()
    series, states = _unrolled(layer, x, given.get("hx"))
    difference = float((states - own).abs().max())
    if not difference <= _TOLERANCE * max(1.0, float(own.abs().max())):
        raise LayerError(
            f"the gates of layer {address!r} recomputed from its weights give states that differ from its own by "
            f"{difference:.2g}: its forward is not that of a {type(layer).__name__}"
        )
    return GateReading({name: numbers.transpose(1, 2) for name, numbers in series.items()}, difference)


def _unrolled(layer: nn.RNNBase, x: Tensor, hx: Any) -> tuple[dict[str, Tensor], Tensor]:
    """The series (N, steps, units) of all stacked layers and directions, and the states of the last layer."""
    directions = 2 if layer.bidirectional else 1
    series: dict[str, Tensor] = {}
    for level in range(layer.num_layers):
        outputs = []
        for direction in range(directions):
            run = level * directions + direction
            steps = _run(layer, f"l{level}{'_reverse' if direction else ''}", x, _initial(layer, hx, run, x), direction)
            parts = [f"layer {level}"] if layer.num_layers > 1 else []
            parts += [("forward", "backward")[direction]] if layer.bidirectional else []
            prefix = f"{' '.join(parts)}, " if parts else ""
            series |= {f"{prefix}{name}": numbers for name, numbers in steps.items()}
            outputs.append(steps["hidden state"])
        x = torch.cat(outputs, -1)
    return series, x


def _initial(layer: nn.RNNBase, hx: Any, run: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """The first hidden state and cell state of one run; zero where the caller gave none."""
    states = hx if isinstance(hx, tuple) else (hx,) if isinstance(hx, Tensor) else ()
    sizes = (layer.proj_size or layer.hidden_size, layer.hidden_size)
    zeros = [x.new_zeros(len(x), size) for size in sizes]
    given = [state[run].double() for state in states] + zeros[len(states) :]
    return given[0], given[1]


def _run(
    layer: nn.RNNBase, suffix: str, x: Tensor, initial: tuple[Tensor, Tensor], direction: int
) -> dict[str, Tensor]:
    """The series of one stacked layer in one direction, in the order of the steps of the input."""

    def weight(name: str) -> Tensor | None:
        parameter = getattr(layer, f"{name}_{suffix}", None)
        return None if parameter is None else parameter.detach().double()

    hidden, cell = initial
    from_input = nn.functional.linear(x, _required(weight("weight_ih")), weight("bias_ih"))
    rows: list[dict[str, Tensor]] = []
    steps = range(x.shape[1])
    for step in reversed(steps) if direction else steps:
        from_hidden = nn.functional.linear(hidden, _required(weight("weight_hh")), weight("bias_hh"))
        row = _STEPS[layer.mode](from_input[:, step], from_hidden, hidden, cell)
        cell = row.get("cell state", cell)
        projection = weight("weight_hr")
        if projection is not None:
            row["hidden state"] = nn.functional.linear(row["hidden state"], projection)
        hidden = row["hidden state"]
        rows.append(row)
    ordered = rows[::-1] if direction else rows
    return {name: torch.stack([row[name] for row in ordered], 1) for name in ordered[0]}


def _required(weight: Tensor | None) -> Tensor:
    assert weight is not None, "a recurrent layer has these weights"
    return weight


def _lstm_step(from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor) -> dict[str, Tensor]:
    i, f, g, o = (from_input + from_hidden).chunk(4, -1)
    gates = {"input gate": i.sigmoid(), "forget gate": f.sigmoid(), "candidate": g.tanh(), "output gate": o.sigmoid()}
    cell = gates["forget gate"] * cell + gates["input gate"] * gates["candidate"]
    return {**gates, "cell state": cell, "hidden state": gates["output gate"] * cell.tanh()}


def _gru_step(from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor) -> dict[str, Tensor]:
    reset_x, update_x, new_x = from_input.chunk(3, -1)
    reset_h, update_h, new_h = from_hidden.chunk(3, -1)
    reset, update = (reset_x + reset_h).sigmoid(), (update_x + update_h).sigmoid()
    new = (new_x + reset * new_h).tanh()
    state = (1 - update) * new + update * hidden
    return {"reset gate": reset, "update gate": update, "candidate": new, "hidden state": state}


def _tanh_step(from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor) -> dict[str, Tensor]:
    return {"hidden state": (from_input + from_hidden).tanh()}


def _relu_step(from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor) -> dict[str, Tensor]:
    return {"hidden state": (from_input + from_hidden).relu()}


_STEPS = {"LSTM": _lstm_step, "GRU": _gru_step, "RNN_TANH": _tanh_step, "RNN_RELU": _relu_step}
"""One step of each kind of recurrent layer, as its documentation in PyTorch writes it."""
