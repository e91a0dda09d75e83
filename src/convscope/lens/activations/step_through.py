from typing import Any

from torch import Tensor

from convscope.engine.arithmetic.unit_evaluation import UnitEvaluation, evaluate_unit
from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import UnitAddress, first_convolution, resolve_units
from convscope.engine.network.model import Model
from convscope.errors import ParameterError
from convscope.runtime.declaration import lens
from convscope.values import Arithmetic, ArithmeticStep


@lens(
    family="activations",
    title="Step through",
    cite="wang2021cnnexplainer",
    asks="How exactly is a single number in a layer's output computed?",
    reads="From top to bottom: the position of the number, the operands and the result of the operation, and the "
    "operations that follow at the same position. It is one number of very many.",
    claims={"deterministic"},
)
def step_through(model: Model, image: Images, *, unit: Any = None) -> list[Arithmetic]:
    """Compute one number of a layer's output step by step: the operands, the operation, and the operations after it.

        convolution  y[o, p] = b[o] + Σ_c Σ_k w[o, c, k] · x[c, p·stride + k·dilation − padding]
        pooling      the largest number of the window, or its sum divided by how many numbers are averaged
        norm         (x − mean) / √(variance + ε) · weight + bias
        activation   f(x), with its slope f′(x)

    Operations and their arguments are recorded during the network's forward pass, so that modules and functional calls
    are both supported: convolutions with one to three spatial axes, grouped, dilated, transposed, with any padding;
    pooling; batch, layer, group, instance and RMS norm; activation functions; linear layers; softmax; sums and products
    of two tensors. The operations after the layer at the same position are included, up to the next operation that
    combines positions or channels. Everything is computed in double precision from the operands of the forward pass.

    Args:
        model: the network.
        image: one image or several.
        unit: a layer's unit and position, ``"conv1[3, 10, 12]"``; without a position, the strongest position of the
            unit, ``"conv1[3]"``, or of the layer, ``"conv1"``; by default of the first convolution. A layer that is
            called several times is read at its last call.

    Returns:
        Per image the steps with their formulas, the computed value beside the network's own, and the operands of the
        first step: window, kernel and products for every input channel, and which cells are padding.

    Raises:
        LayerError: the layer consists of several operations; the message names its parts that can be stepped through.
        UnknownName: no such layer, unit or position.

    Example:
        >>> import convscope as cs
        >>> a = cs.step_through(cs.load("bundled:shapes"), "sample:shapes/7", unit="conv1[3, 10, 12]")
        >>> [step.operation for step in a.steps], a.difference < 1e-5
        (['conv2d', 'batch_norm', 'relu'], True)

    Source: :cite:`wang2021cnnexplainer`; the arithmetic :cite:`dumoulin2016guide`.
    """
    address = _single_unit(model, unit)
    results: list[Arithmetic] = []

    def step(rows: Tensor) -> None:
        steps = evaluate_unit(model, rows_of(image.tensor, rows), address.layer, address.unit, address.position)
        results.extend(_of_image(image, int(row), of_image) for row, of_image in zip(rows, steps, strict=True))

    in_chunks(len(image), image.tensor[0], step, light=True)
    return results


def _single_unit(model: Model, unit: Any) -> UnitAddress:
    units = resolve_units(model, first_convolution(model) if unit is None else unit)
    if len(units) != 1:
        raise ParameterError(f"one unit is stepped through at a time, got {len(units)}")
    return units[0]


def _of_image(images: Images, row: int, stepped_unit: UnitEvaluation) -> Arithmetic:
    """The steps of one image as a value."""
    numbers = dict(stepped_unit.steps[0].evaluation.numbers)
    for index, step in enumerate(stepped_unit.steps[1:], start=1):
        numbers |= {f"{name} of step {index}": operand for name, operand in step.evaluation.numbers.items()}
    return Arithmetic(
        unit=str(stepped_unit.unit),
        steps=tuple(
            ArithmeticStep(
                operation=step.operation,
                title=step.evaluation.title,
                formula=step.evaluation.formula,
                value=step.evaluation.value,
                network=step.network,
                given=step.evaluation.given,
                follows=step.follows,
                facts=step.evaluation.facts,
            )
            for step in stepped_unit.steps
        ),
        numbers=numbers,
        output=stepped_unit.output,
        position=stepped_unit.unit.position,
        photo=images.photo(row),  # type: ignore[arg-type]
        notes={"difference from the network's own number": _largest_difference(stepped_unit)},
    )


def _largest_difference(stepped_unit: UnitEvaluation) -> float:
    return max(abs(step.evaluation.value - step.network) for step in stepped_unit.steps)
