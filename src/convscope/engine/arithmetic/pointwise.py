"""Functions of the number at the place itself, sums and products of two tensors, and softmax."""

import operator
from collections.abc import Callable

import torch
from torch import Tensor

from convscope.engine.arithmetic.evaluate import Operation, Place, Worked, bracketed, exact, operand, said

_FORMULAS = {
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
    "leaky_relu": "x where x > 0, else slope · x",
    "elu": "x where x > 0, else α · (e^x − 1)",
}

_POINTS = 121
"""At so many numbers around the given one a function is evaluated, for its curve."""

_SIGNS: dict[str, tuple[str, Callable[[float, float], float]]] = {
    "add": ("+", operator.add),
    "sub": ("−", operator.sub),
    "mul": ("·", operator.mul),
    "multiply": ("·", operator.mul),
    "div": ("/", operator.truediv),
}
_TITLES = {"add": "sum", "sub": "difference", "mul": "product", "multiply": "product", "div": "quotient"}


def activation(made: Operation, place: Place) -> Worked:
    """Value in, value out, and the slope there: the function itself, at one number in double precision."""
    x = exact(operand(made.call, 0, "input")[place])
    call = made.call.out_of_place() if made.call.inplace else made.call
    value, slope = _with_slope(call.on, x)
    name, given = call.name, float(x)
    if name == "hardtanh":
        low, high = float(call.argument(1, "min_val", -1.0)), float(call.argument(2, "max_val", 1.0))
        name, rule = "relu6" if (low, high) == (0, 6) else name, f"min(max({said(low)}, x), {said(high)})"
    else:
        rule = _FORMULAS.get(name, f"{name}(x)")
    formula = f"{rule} at x = {said(given)} is {said(value)}, slope {said(slope)}"
    reach = max(3.0, 1.25 * abs(given))
    around = torch.linspace(-reach, reach, _POINTS, dtype=torch.float64, device="cpu")
    numbers = {"curve from": around, "curve": call.on(around.clone())}
    return Worked(name, formula, value, given, facts={"slope": slope}, numbers=numbers)


def prelu(made: Operation, place: Place) -> Worked:
    """A rectifier whose slope on the left is a weight of the channel."""
    call, given = made.call, float(exact(operand(made.call, 0, "input")[place]))
    weight = operand(call, 1, "weight")
    left = float(exact(weight[place[1] if len(weight) > 1 else 0]))
    slope = 1.0 if given > 0 else left
    formula = f"x where x > 0, else {bracketed(left)} · x at x = {said(given)} is {said(slope * given)}"
    around = torch.linspace(-1, 1, _POINTS, dtype=torch.float64, device="cpu") * max(3.0, 1.25 * abs(given))
    numbers = {"curve from": around, "curve": torch.where(around > 0, around, left * around)}
    return Worked("prelu", formula, slope * given, given, facts={"slope": slope}, numbers=numbers)


def of_two(made: Operation, place: Place) -> Worked:
    """A sum, product, difference or quotient of two tensors, or of one and a number."""
    call = made.call
    first, second = (_at(call.argument(n, name), made.out, place) for n, name in enumerate(("input", "other")))
    second *= float(call.kwargs.get("alpha", 1))
    sign, work = _SIGNS[call.name]
    value = work(first, second)
    formula = f"{said(first)} {sign} {bracketed(second)} = {said(value)}"
    return Worked(f"{_TITLES[call.name]} of two", formula, value, first, facts={"other": second})


def softmax(made: Operation, place: Place) -> Worked:
    """The share of e^x among all along the axis; its logarithm where that was asked for."""
    call, x = made.call, operand(made.call, 0, "input")
    axis = call.argument(1, "dim")
    axis = (0 if x.ndim in (0, 1, 3) else 1) if axis is None else int(axis) % x.ndim  # torch's own legacy choice
    along = exact(x[tuple(slice(None) if n == axis else i for n, i in enumerate(place))])
    given, peak = float(along[place[axis]]), float(along.max())
    power, total = float((along[place[axis]] - peak).exp()), float((along - peak).exp().sum())
    share = power / total
    logarithm = call.name == "log_softmax"
    value = given - peak - float(torch.tensor(total, dtype=torch.float64, device="cpu").log()) if logarithm else share
    formula = (
        f"e^{bracketed(given - peak)} / Σ e^(x − {bracketed(peak)}) = {said(power)} / {said(total)} = {said(share)}"
    )
    formula = f"log({formula}) = {said(value)}" if logarithm else formula
    numbers = {"window": along, "products": (along - peak).exp() / total}
    return Worked(call.name.replace("_", " "), formula, value, given, facts={"of": len(along)}, numbers=numbers)


def _with_slope(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[float, float]:
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_(True)
        y = function(x)
        slope = torch.autograd.grad(y, x)[0] if y.requires_grad else torch.zeros((), dtype=torch.float32, device="cpu")
    return float(y.detach()), float(slope)


def _at(thing: Tensor | float, out: Tensor, place: Place) -> float:
    """A number, or that of a tensor that is spread over the output."""
    return float(exact(thing.expand_as(out)[place])) if isinstance(thing, Tensor) else float(thing)
