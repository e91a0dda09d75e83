"""Evaluating elementwise functions, sums and products of two tensors, and softmax."""

import operator
from collections.abc import Callable

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

_FORMULAS: dict[str, str] = {
    "relu": "max(0, x)",
    "relu6": "min(max(0, x), 6)",
    "sigmoid": "1 / (1 + e^−x)",
    "tanh": "(e^x − e^−x) / (e^x + e^−x)",
    "silu": "x / (1 + e^−x)",
    "gelu": "x · Φ(x)",
    "softplus": "log(1 + e^x)",
    "mish": "x · tanh(log(1 + e^x))",
    "hardsigmoid": "min(max(0, x + 3), 6) / 6",
    "hardswish": "x · min(max(0, x + 3), 6) / 6",
    "softsign": "x / (1 + |x|)",
    "leaky_relu": Fact("x where x > 0, else slope · x"),
    "elu": Fact("x where x > 0, else α · (e^x − 1)"),
}

_CURVE_POINTS = 121
"""At how many inputs around the actual one a function is evaluated, to draw its curve."""

_OPERATORS: dict[str, tuple[str, Callable[[float, float], float]]] = {
    "add": ("+", operator.add),
    "sub": ("−", operator.sub),
    "mul": ("·", operator.mul),
    "multiply": ("·", operator.mul),
    "div": ("/", operator.truediv),
}
_TITLES = {
    "add": Fact("sum of two"),
    "sub": Fact("difference of two"),
    "mul": Fact("product of two"),
    "multiply": Fact("product of two"),
    "div": Fact("quotient of two"),
}


def activation(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """The value of an activation function at one number in double precision, and its slope there."""
    x = to_double(tensor_argument(operation.call, 0, "input")[index])
    call = operation.call.out_of_place() if operation.call.inplace else operation.call
    value, slope = _value_and_slope(call.run_with, x)
    name, number = call.name, float(x)
    if name == "hardtanh":
        low, high = float(call.argument(1, "min_val", -1.0)), float(call.argument(2, "max_val", 1.0))
        name = "relu6" if (low, high) == (0, 6) else name
        rule = f"min(max({format_number(low)}, x), {format_number(high)})"
    else:
        rule = _FORMULAS.get(name, f"{name}(x)")
    formula = Fact(
        "{rule} at x = {given} is {value}, slope {slope}",
        rule=rule,
        given=format_number(number),
        value=format_number(value),
        slope=format_number(slope),
    )
    radius = max(3.0, 1.25 * abs(number))
    curve_inputs = torch.linspace(-radius, radius, _CURVE_POINTS, dtype=torch.float64, device="cpu")
    numbers = {"curve from": curve_inputs, "curve": call.run_with(curve_inputs.clone())}
    return Evaluation(name, formula, value, number, facts={"slope": slope}, numbers=numbers)


def prelu(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """A rectifier whose slope for negative inputs is a weight of the channel."""
    call, number = operation.call, float(to_double(tensor_argument(operation.call, 0, "input")[index]))
    weight = tensor_argument(call, 1, "weight")
    negative_slope = float(to_double(weight[index[1] if len(weight) > 1 else 0]))
    slope = 1.0 if number > 0 else negative_slope
    formula = Fact(
        "{rule} at x = {given} is {value}",
        rule=Fact("x where x > 0, else {slope} · x", slope=format_operand(negative_slope)),
        given=format_number(number),
        value=format_number(slope * number),
    )
    unit_inputs = torch.linspace(-1, 1, _CURVE_POINTS, dtype=torch.float64, device="cpu")
    curve_inputs = unit_inputs * max(3.0, 1.25 * abs(number))
    numbers = {
        "curve from": curve_inputs,
        "curve": torch.where(curve_inputs > 0, curve_inputs, negative_slope * curve_inputs),
    }
    return Evaluation("prelu", formula, slope * number, number, facts={"slope": slope}, numbers=numbers)


def binary(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """A sum, product, difference or quotient of two tensors, or of a tensor and a number."""
    call = operation.call
    first, second = (
        _value_at(call.argument(n, name), operation.output, index) for n, name in enumerate(("input", "other"))
    )
    second *= float(call.kwargs.get("alpha", 1))
    sign, function = _OPERATORS[call.name]
    value = function(first, second)
    formula = f"{format_number(first)} {sign} {format_operand(second)} = {format_number(value)}"
    return Evaluation(_TITLES[call.name], formula, value, first, facts={"other": second})


def softmax(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """e^x divided by its sum along the dimension; for log_softmax the logarithm of that."""
    call, x = operation.call, tensor_argument(operation.call, 0, "input")
    dim = call.argument(1, "dim")
    dim = (0 if x.ndim in (0, 1, 3) else 1) if dim is None else int(dim) % x.ndim  # torch's own legacy default
    along = to_double(x[tuple(slice(None) if n == dim else i for n, i in enumerate(index))])
    number, peak = float(along[index[dim]]), float(along.max())
    power, total = float((along[index[dim]] - peak).exp()), float((along - peak).exp().sum())
    share = power / total
    logarithm = call.name == "log_softmax"
    value = number - peak - float(torch.tensor(total, dtype=torch.float64, device="cpu").log()) if logarithm else share
    formula = (
        f"e^{format_operand(number - peak)} / Σ e^(x − {format_operand(peak)}) = "
        f"{format_number(power)} / {format_number(total)} = {format_number(share)}"
    )
    formula = f"log({formula}) = {format_number(value)}" if logarithm else formula
    numbers = {"window": along, "products": (along - peak).exp() / total}
    return Evaluation(call.name.replace("_", " "), formula, value, number, facts={"of": len(along)}, numbers=numbers)


def _value_and_slope(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[float, float]:
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_(True)
        y = function(x)
        slope = torch.autograd.grad(y, x)[0] if y.requires_grad else torch.zeros((), dtype=torch.float32, device="cpu")
    return float(y.detach()), float(slope)


def _value_at(argument: Tensor | float, output: Tensor, index: OutputIndex) -> float:
    """A number, or the value of a tensor that is broadcast to the output."""
    return float(to_double(argument.expand_as(output)[index])) if isinstance(argument, Tensor) else float(argument)
