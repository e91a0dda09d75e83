from typing import Any

from torch import Tensor

from convscope.engine.arithmetic.stepping import Stepped, stepped
from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import UnitAddress, first_kernels, units_of
from convscope.engine.network.model import Model
from convscope.errors import ParameterError
from convscope.runtime.declaration import lens
from convscope.values import Arithmetic, Step


@lens(
    family="activations",
    title="Step through",
    cite="wang2021cnnexplainer",
    asks="How exactly does one number of a layer come about?",
    reads="From top to bottom: where the number lies, what the operation was given there and what it makes of it, and "
    "what follows at the same place. It is one number of very many.",
    claims={"deterministic"},
)
def step_through(model: Model, image: Images, *, unit: Any = None) -> list[Arithmetic]:
    """Work out one number of a layer by hand: the operands, the operation, and what follows it at that place.

        convolution  y[o, p] = b[o] + Σ_c Σ_k w[o, c, k] · x[c, p·stride + k·dilation − padding]
        pooling      the largest of the window, or its sum / the numbers that count
        norm         (x − mean) / √(variance + ε) · weight + bias
        activation   f(x), with its slope f′(x)

    Operations are read off the network's own forward, with the arguments they were called with, so that any module and
    any functional call can be stepped through: convolutions of one to three axes, grouped, dilated, transposed, with
    any padding; pooling; batch, layer, group, instance and RMS norm; activations; linear layers; softmax; sums and
    products of two tensors. What follows the layer at the same place is worked out as well, up to the next operation
    that mixes places or channels. Everything is computed in double precision from the operands of the forward.

    Args:
        model: the network.
        image: one image or several.
        unit: a layer's unit and position, ``"conv1[3, 10, 12]"``; without a position the strongest place of the unit,
            ``"conv1[3]"``, or of the layer, ``"conv1"``; by default of the first convolution. A reused layer is read at
            its last call.

    Returns:
        Per image the steps with their formulas, the value worked out beside the network's own, and the operands of the
        first step: window, kernel and products for every input channel, and which cells are padding.

    Raises:
        LayerError: the layer is made of parts; the message names those that can be stepped through.
        UnknownName: no such layer, unit or position.

    Example:
        >>> import convscope as cs
        >>> a = cs.step_through(cs.load("bundled:shapes"), "sample:shapes/7", unit="conv1[3, 10, 12]")
        >>> [step.operation for step in a.steps], a.difference < 1e-5
        (['conv2d', 'batch_norm', 'relu'], True)

    Source: :cite:`wang2021cnnexplainer`; the arithmetic :cite:`dumoulin2016guide`.
    """
    asked = _unit(model, unit)
    found: list[Arithmetic] = []

    def step(rows: Tensor) -> None:
        made = stepped(model, rows_of(image.tensor, rows), asked.layer, asked.unit, asked.position)
        found.extend(_of_image(image, int(row), one) for row, one in zip(rows, made, strict=True))

    in_chunks(len(image), image.tensor[0], step, light=True)
    return found


def _unit(model: Model, given: Any) -> UnitAddress:
    """The one unit that was asked for."""
    units = units_of(model, first_kernels(model) if given is None else given)
    if len(units) != 1:
        raise ParameterError(f"one unit is stepped through at a time, got {len(units)}")
    return units[0]


def _of_image(images: Images, row: int, one: Stepped) -> Arithmetic:
    """The steps of one image as a value."""
    numbers = dict(one.steps[0].worked.numbers)
    for place, taken in enumerate(one.steps[1:], start=1):
        numbers |= {f"{name} of step {place}": found for name, found in taken.worked.numbers.items()}
    return Arithmetic(
        unit=str(one.unit),
        steps=tuple(
            Step(
                operation=taken.operation,
                title=taken.worked.title,
                formula=taken.worked.formula,
                value=taken.worked.value,
                network=taken.network,
                given=taken.worked.given,
                follows=taken.follows,
                facts=taken.worked.facts,
            )
            for taken in one.steps
        ),
        numbers=numbers,
        output=one.output,
        position=one.unit.position,
        photo=images.photo(row),  # type: ignore[arg-type]
        notes={"difference from the network's own number": _difference(one)},
    )


def _difference(one: Stepped) -> float:
    return max(abs(taken.worked.value - taken.network) for taken in one.steps)
