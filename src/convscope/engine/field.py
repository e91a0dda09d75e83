"""Which part of the input a position of a layer can see, measured: where the gradient of that position is not zero.

Along each axis the field is found on its own, so that a map of h × w positions needs max(h, w) ways back and not
h · w; what sees everything (attention, a pooled vector) shows the whole input. The inputs are noise and all channels
count together: rectifiers and maxima close some paths on one input, hardly the same ones for all channels on two.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.engine.capture import first_tensor, on_forward, stopping_at
from convscope.engine.channels import by_channel, grid_of
from convscope.engine.cost import count
from convscope.engine.trace import calls_of

if TYPE_CHECKING:
    from convscope.engine.model import Model

Box = tuple[tuple[int, int], ...]
"""From where to where along each spatial axis of the input, the end not included."""

_TRIES = 2


def fields_of(model: "Model", address: str, positions: Sequence[int], tensor: Tensor) -> list[Box]:
    """The boxes of the input that these positions of a layer can see.

    Args:
        positions: places in the layer's flattened map.
        tensor: inputs (N, C, …) of the kind the model takes; only their shape counts.
    """
    extent = tuple(int(side) for side in tensor.shape[2:])
    noise = torch.randn(_TRIES, *tensor.shape[1:], generator=torch.Generator().manual_seed(0)).to(tensor)
    activation, noise = _activation(model, address, noise)
    numbers = by_channel(activation, extent, len(noise))
    assert numbers is not None, "a layer whose maxima were read is made of one part per image"
    grid = grid_of(activation, extent, numbers.shape[2])
    whole: Box = tuple((0, side) for side in extent)
    if grid is None or len(grid) != len(extent):
        return [_box(noise, numbers, position, extent) for position in positions]
    places = [torch.unravel_index(torch.tensor(position), grid) for position in positions]
    seen: list[dict[int, tuple[int, int]]] = [{} for _ in extent]
    wanted = [sorted({int(place[axis]) for place in places}) for axis in range(len(extent))]
    for turn in range(max(len(axis) for axis in wanted)):
        at = [axis[min(turn, len(axis) - 1)] for axis in wanted]
        flat = 0
        for side, step in zip(grid, at, strict=True):
            flat = flat * side + step
        box = _box(noise, numbers, flat, extent)
        for axis, step in enumerate(at):
            seen[axis].setdefault(step, box[axis])
    return [tuple(seen[axis][int(place[axis])] for axis in range(len(extent))) or whole for place in places]


def _activation(model: "Model", address: str, noise: Tensor) -> tuple[Tensor, Tensor]:
    """What the layer gives for the noise, with a graph back to it; nothing above the layer is computed."""
    caught: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        found = first_tensor(output)
        if found is not None:
            caught.append(found.clone())

    calls = calls_of(model, address, noise)
    handle = on_forward(model.module, address, keep)
    try:
        with torch.enable_grad(), stopping_at(model.module, address, call=calls):
            leaf = noise.detach().requires_grad_(True)
            model.run(leaf.clone())  # a network may write to its input
    finally:
        handle.remove()
    return caught[-1], leaf


def _box(noise: Tensor, numbers: Tensor, position: int, extent: tuple[int, ...]) -> Box:
    """Where the gradient of all channels at one position is not zero; everything where it is nowhere."""
    weights = torch.rand(numbers.shape[1], generator=torch.Generator().manual_seed(1)).to(numbers) + 0.5
    score = (numbers[:, :, position] * weights).sum()
    (gradient,) = torch.autograd.grad(score, noise, retain_graph=True, allow_unused=True)
    count(backwards=len(noise))
    if gradient is None:
        return tuple((0, side) for side in extent)
    reached = (gradient != 0).flatten(0, 1).any(0)
    if not bool(reached.any()):
        return tuple((0, side) for side in extent)
    box = []
    for axis in range(len(extent)):
        others = [other for other in range(len(extent)) if other != axis]
        along = (reached.any(dim=tuple(others)) if others else reached).nonzero()
        box.append((int(along[0]), int(along[-1]) + 1))
    return tuple(box)
