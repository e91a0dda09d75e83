"""Evaluating normalization: (x − mean) / √(variance + ε) · weight + bias; each norm has its own mean and variance."""

import torch
from torch import Tensor

from convscope.engine.arithmetic.evaluate import (
    Evaluation,
    ExecutedOperation,
    OutputIndex,
    format_number,
    format_operand,
    tensor_argument,
    to_double,
)
from convscope.values.facts import Fact


def batch_norm(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """By the running statistics of the channel, or by those of this batch where the layer keeps none."""
    call, channel = operation.call, index[1]
    x = tensor_argument(call, 0, "input")
    running_mean, running_var = call.argument(1, "running_mean"), call.argument(2, "running_var")
    uses_running = not call.argument(5, "training", False) and running_mean is not None
    if uses_running:
        mean, variance = float(to_double(running_mean[channel])), float(to_double(running_var[channel]))
    else:
        mean, variance = _mean_and_variance(to_double(x[:, channel]))
    title = Fact("batch norm") if uses_running else Fact("batch norm over this batch")
    return _normalization(title, operation, index, mean, variance, 3, channel, call.argument(7, "eps", 1e-5))


def instance_norm(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """Over the positions of this channel of this image."""
    call, channel = operation.call, index[1]
    running_mean, running_var = call.argument(1, "running_mean"), call.argument(2, "running_var")
    if call.argument(5, "use_input_stats", True) or running_mean is None:
        mean, variance = _mean_and_variance(to_double(tensor_argument(call, 0, "input")[index[:2]]))
    else:
        mean, variance = float(to_double(running_mean[channel])), float(to_double(running_var[channel]))
    return _normalization(
        Fact("instance norm"), operation, index, mean, variance, 3, channel, call.argument(7, "eps", 1e-5)
    )


def group_norm(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """Over the channels of the group and all positions."""
    call, channel = operation.call, index[1]
    x, groups = tensor_argument(call, 0, "input"), int(call.argument(1, "num_groups"))
    group_size = x.shape[1] // groups
    first = channel // group_size * group_size
    mean, variance = _mean_and_variance(to_double(x[index[0], first : first + group_size]))
    title = Fact("group norm, {groups} groups", groups=groups)
    return _normalization(title, operation, index, mean, variance, 2, channel, call.argument(4, "eps", 1e-5))


def layer_norm(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """Over the last dimensions, for each index of the others."""
    call = operation.call
    dims = len(call.argument(1, "normalized_shape"))
    mean, variance = _mean_and_variance(to_double(tensor_argument(call, 0, "input")[index[:-dims]]))
    eps = call.argument(4, "eps", 1e-5)
    return _normalization(Fact("layer norm"), operation, index, mean, variance, 2, index[-dims:], eps)


def rms_norm(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """Over the last dimensions: by the root of the mean square, without subtracting a mean."""
    call, x = operation.call, tensor_argument(operation.call, 0, "input")
    dims, eps = len(call.argument(1, "normalized_shape")), call.argument(3, "eps")
    mean_square = float(to_double(x[index[:-dims]]).square().mean())
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    number, weight = float(to_double(x[index])), _parameter_value(call.argument(2, "weight"), index[-dims:], 1.0)
    value = number / (mean_square + eps) ** 0.5 * weight
    formula = (
        f"{format_number(number)} / √({format_number(mean_square)} + {format_number(eps)}) · {format_operand(weight)} "
        f"= {format_number(value)}"
    )
    facts = {"mean square": mean_square, "eps": eps, "weight": weight}
    return Evaluation(Fact("RMS norm"), formula, value, number, facts=facts)


def local_response_norm(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """By the squares of the neighbouring channels at the same position."""
    call, (row, channel, *at) = operation.call, index
    x, size = tensor_argument(call, 0, "input"), int(call.argument(1, "size"))
    alpha, beta, k = call.argument(2, "alpha", 1e-4), call.argument(3, "beta", 0.75), call.argument(4, "k", 1.0)
    channels = to_double(x[row].movedim(0, -1)[tuple(at)])
    squares = float(channels[max(0, channel - size // 2) : channel + (size - 1) // 2 + 1].square().sum())
    number = float(channels[channel])
    value = number / (k + alpha * squares / size) ** beta
    formula = (
        f"{format_number(number)} / ({format_number(k)} + {format_number(alpha)} · {format_number(squares)} / {size})"
        f"^{format_number(beta)} = {format_number(value)}"
    )
    return Evaluation(Fact("local response norm"), formula, value, number, facts={"squares": squares})


def _mean_and_variance(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.var(unbiased=False))


def _normalization(
    title: Fact,
    operation: ExecutedOperation,
    index: OutputIndex,
    mean: float,
    variance: float,
    weight_argument: int,
    parameter_index: int | OutputIndex,
    eps: float,
) -> Evaluation:
    """The formula that all norms share.

    Args:
        weight_argument: the number of the call's argument that is the weight; the bias is the next one.
        parameter_index: the index into weight and bias.
    """
    number = float(to_double(tensor_argument(operation.call, 0, "input")[index]))
    weight = _parameter_value(operation.call.argument(weight_argument, "weight"), parameter_index, 1.0)
    bias = _parameter_value(operation.call.argument(weight_argument + 1, "bias"), parameter_index, 0.0)
    value = (number - mean) / (variance + eps) ** 0.5 * weight + bias
    formula = (
        f"({format_number(number)} − {format_operand(mean)}) / √({format_number(variance)} + {format_number(eps)}) · "
        f"{format_operand(weight)} + {format_operand(bias)} = {format_number(value)}"
    )
    facts = {"mean": mean, "variance": variance, "eps": eps, "weight": weight, "bias": bias}
    return Evaluation(title, formula, value, number, facts=facts)


def _parameter_value(parameter: Tensor | None, index: int | OutputIndex, default: float) -> float:
    return default if parameter is None else float(to_double(parameter[index]))
