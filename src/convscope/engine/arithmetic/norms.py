"""Norms worked out: (x − mean) / √(variance + ε) · weight + bias, each over numbers of its own."""

import torch
from torch import Tensor

from convscope.engine.arithmetic.evaluate import Operation, Place, Worked, bracketed, exact, operand, said


def batch_norm(made: Operation, place: Place) -> Worked:
    """By the running statistics of the channel, or of this batch where the layer keeps none."""
    call, channel = made.call, place[1]
    x, mean, variance = operand(call, 0, "input"), call.argument(1, "running_mean"), call.argument(2, "running_var")
    kept = not call.argument(5, "training", False) and mean is not None
    if kept:
        centre, spread = float(exact(mean[channel])), float(exact(variance[channel]))
    else:
        centre, spread = _moments(exact(x[:, channel]))
    title = "batch norm" if kept else "batch norm over this batch"
    return _normed(title, made, place, centre, spread, 3, channel, call.argument(7, "eps", 1e-5))


def instance_norm(made: Operation, place: Place) -> Worked:
    """Over the places of this channel of this image."""
    call, channel = made.call, place[1]
    mean, variance = call.argument(1, "running_mean"), call.argument(2, "running_var")
    if call.argument(5, "use_input_stats", True) or mean is None:
        centre, spread = _moments(exact(operand(call, 0, "input")[place[:2]]))
    else:
        centre, spread = float(exact(mean[channel])), float(exact(variance[channel]))
    return _normed("instance norm", made, place, centre, spread, 3, channel, call.argument(7, "eps", 1e-5))


def group_norm(made: Operation, place: Place) -> Worked:
    """Over the channels of the group and all places."""
    call, channel = made.call, place[1]
    x, groups = operand(call, 0, "input"), int(call.argument(1, "num_groups"))
    members = x.shape[1] // groups
    first = channel // members * members
    centre, spread = _moments(exact(x[place[0], first : first + members]))
    title = f"group norm, {groups} groups"
    return _normed(title, made, place, centre, spread, 2, channel, call.argument(4, "eps", 1e-5))


def layer_norm(made: Operation, place: Place) -> Worked:
    """Over the last axes, for each place of the others."""
    call = made.call
    over = len(call.argument(1, "normalized_shape"))
    centre, spread = _moments(exact(operand(call, 0, "input")[place[:-over]]))
    return _normed("layer norm", made, place, centre, spread, 2, place[-over:], call.argument(4, "eps", 1e-5))


def rms_norm(made: Operation, place: Place) -> Worked:
    """Over the last axes: by the root of the mean square, without a mean taken off."""
    call, x = made.call, operand(made.call, 0, "input")
    over, eps = len(call.argument(1, "normalized_shape")), call.argument(3, "eps")
    square = float(exact(x[place[:-over]]).square().mean())
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    given, scale = float(exact(x[place])), _parameter(call.argument(2, "weight"), place[-over:], 1.0)
    value = given / (square + eps) ** 0.5 * scale
    formula = f"{said(given)} / √({said(square)} + {said(eps)}) · {bracketed(scale)} = {said(value)}"
    return Worked("RMS norm", formula, value, given, facts={"mean square": square, "eps": eps, "weight": scale})


def local_response_norm(made: Operation, place: Place) -> Worked:
    """By the squares of the neighbouring channels at the same place."""
    call, (row, channel, *at) = made.call, place
    x, size = operand(call, 0, "input"), int(call.argument(1, "size"))
    alpha, beta, k = call.argument(2, "alpha", 1e-4), call.argument(3, "beta", 0.75), call.argument(4, "k", 1.0)
    across = exact(x[row].movedim(0, -1)[tuple(at)])
    squares = float(across[max(0, channel - size // 2) : channel + (size - 1) // 2 + 1].square().sum())
    given = float(across[channel])
    value = given / (k + alpha * squares / size) ** beta
    formula = f"{said(given)} / ({said(k)} + {said(alpha)} · {said(squares)} / {size})^{said(beta)} = {said(value)}"
    return Worked("local response norm", formula, value, given, facts={"squares": squares})


def _moments(numbers: Tensor) -> tuple[float, float]:
    return float(numbers.mean()), float(numbers.var(unbiased=False))


def _normed(
    title: str,
    made: Operation,
    place: Place,
    centre: float,
    spread: float,
    weight_at: int,
    which: int | Place,
    eps: float,
) -> Worked:
    """The formula that all norms share; ``weight_at`` is where in the call the weight stands, the bias behind it."""
    given = float(exact(operand(made.call, 0, "input")[place]))
    scale = _parameter(made.call.argument(weight_at, "weight"), which, 1.0)
    offset = _parameter(made.call.argument(weight_at + 1, "bias"), which, 0.0)
    value = (given - centre) / (spread + eps) ** 0.5 * scale + offset
    formula = (
        f"({said(given)} − {bracketed(centre)}) / √({said(spread)} + {said(eps)}) · {bracketed(scale)} + "
        f"{bracketed(offset)} = {said(value)}"
    )
    facts = {"mean": centre, "variance": spread, "eps": eps, "weight": scale, "bias": offset}
    return Worked(title, formula, value, given, facts=facts)


def _parameter(found: Tensor | None, which: int | Place, without: float) -> float:
    return without if found is None else float(exact(found[which]))
