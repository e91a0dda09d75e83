"""One unit of a layer evaluated at one position of each image, and the operations that follow there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.arithmetic.evaluation import Evaluation, ExecutedOperation, OutputIndex, to_double
from convscope.engine.arithmetic.op_table import EVALUATORS, REARRANGING, STARTING
from convscope.engine.arithmetic.output_index import output_index, resolve_unit
from convscope.engine.arithmetic.tracing import OperationChain, tracing
from convscope.engine.layers.addresses import UnitAddress
from convscope.engine.layers.feature_layout import FeatureLayout
from convscope.engine.layers.layer_trace import layout_of
from convscope.engine.network.hooks import refuse_complex
from convscope.engine.network.parametrized import class_name, weight_modules
from convscope.engine.network.quantized import packed_weights
from convscope.engine.network.scripted_modules import unreached_message
from convscope.errors import LayerError, NotFinite

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


@dataclass(frozen=True, eq=False)
class EvaluatedStep:
    """One operation of the layer, or one that follows it.

    Attributes:
        operation: torch's name of the operation.
        network: the value that the network itself computed.
        follows: whether the operation follows the layer.
    """

    operation: str
    evaluation: Evaluation
    network: float
    follows: bool


@dataclass(eq=False)
class UnitEvaluation:
    """All steps for one unit of one image.

    Attributes:
        index: the unit's index into the output of the latest operation.
        output: the unit's whole map in the layer's output.
    """

    unit: UnitAddress
    index: OutputIndex
    output: Tensor
    steps: list[EvaluatedStep] = field(default_factory=list)


def evaluate_unit(
    model: "Model", tensor: Tensor, address: str, unit: int | None, position: tuple[int, ...]
) -> list[UnitEvaluation]:
    """The arithmetic of a layer's last call for each of the inputs ``tensor``.

    Raises:
        LayerError: the layer is made of parts, or did not run; the message names the parts that can be stepped through.
    """
    if packed_weights(dict(model.module.named_modules())[address]):
        raise LayerError(
            f"layer {address!r} is quantised (it computes with int8 numbers), whose arithmetic cannot be evaluated: "
            "choose a layer in floating point, or step through the network before quantisation"
        )
    layout = layout_of(model, address, tensor)
    evaluations: list[UnitEvaluation] = []

    def on_chain(chain: OperationChain) -> None:
        if not tracer.follows and all(operation.call.name in REARRANGING for operation in chain):
            raise LayerError(_only_rearranges(model, address))
        output = chain[-1].output
        refuse_complex(output, address)
        if not tracer.follows:
            evaluations.clear()
            units = layout.units(output)
            for row in range(len(tensor)):
                number, at = resolve_unit(units, row, address, unit, position)
                evaluations.append(_evaluated_layer(chain, layout, units, row, UnitAddress(address, number, at)))
            return
        (operation,) = chain
        for evaluation in evaluations:
            if operation.call.name in REARRANGING:
                evaluation.index = _rearranged_index(operation, evaluation.index, forward=True)
            else:
                evaluation.steps += evaluate_chain(chain, evaluation.index, follows=True)

    with torch.no_grad(), tracing(model.module, address, on_chain) as tracer:
        model.run(model.input_copy(tensor))
    if not evaluations:
        raise LayerError(_why_not_evaluated(model, address, tensor, tracer.ran))
    return evaluations


def _evaluated_layer(
    chain: OperationChain, layout: FeatureLayout, units: Tensor, row: int, unit: UnitAddress
) -> UnitEvaluation:
    """The steps of the layer itself for one unit of image ``row``."""
    index = output_index(chain[-1].output, layout, row, unit)
    evaluation = UnitEvaluation(unit, index, to_double(units[row, unit.unit]).float())
    evaluation.steps = evaluate_chain(chain, index, follows=False)
    return evaluation


def evaluate_chain(chain: Sequence[ExecutedOperation], index: OutputIndex, *, follows: bool) -> list[EvaluatedStep]:
    """The operations of a chain evaluated at an index of the last one's output, the first operation first."""
    steps = []
    for operation in reversed(chain):
        name = operation.call.name
        if name in REARRANGING:
            index = _rearranged_index(operation, index, forward=False)
            continue
        network = float(to_double(operation.output[index]))
        evaluation = EVALUATORS[name](operation, index)
        if not torch.tensor([network, evaluation.value], dtype=torch.float64, device="cpu").isfinite().all():
            raise NotFinite(f"the value at {index[1:]} is NaN or infinite after the operation {name!r}")
        steps.append(EvaluatedStep(name, evaluation, network, follows))
        if name in STARTING:
            break
    return steps[::-1]


def _rearranged_index(operation: ExecutedOperation, index: OutputIndex, *, forward: bool) -> OutputIndex:
    """The output index of the input value at ``index``, or the other way round, of an operation that rearranges."""
    source = next(operation.call.tensors())
    numbered = torch.arange(source.numel(), device="cpu").reshape(source.shape)
    rearranged = operation.call.run_with(numbered)
    if forward:
        return tuple(int(i) for i in torch.nonzero(rearranged == numbered[index])[0])
    return tuple(int(i) for i in torch.unravel_index(rearranged[index], source.shape))


def _why_not_evaluated(model: "Model", address: str, tensor: Tensor, ran: bool) -> str:
    if not ran:
        return unreached_message(model.module, address)
    module = model.module.get_submodule(address)
    weights = weight_modules(model.module)
    parts = [f"{address}.{name}" for name, m in module.named_modules() if name and not list(m.children())]
    parts = [part for part in parts if part not in weights]
    possible = [part for part in parts if _can_be_stepped(model, part, tensor)]
    layer = f"layer {address!r} ({class_name(module)})"
    if possible:
        more = f" and {len(possible) - 12} more" if len(possible) > 12 else ""
        names = ", ".join(repr(part) for part in possible[:12]) + more
        return f"{layer} is made of parts: step through one of {names}"
    if parts:
        return f"{layer} is made of parts, none of which is a single operation: choose another layer"
    return (
        f"{layer} has no operation that can be evaluated at one position: choose a convolution, a norm or an activation"
    )


def _only_rearranges(model: "Model", address: str) -> str:
    kind = type(model.module.get_submodule(address)).__name__
    return (
        f"layer {address!r} ({kind}) only rearranges values, so that there is nothing to evaluate: "
        "choose the layer before it, a convolution, a norm or an activation"
    )


def _can_be_stepped(model: "Model", address: str, tensor: Tensor) -> bool:
    with torch.no_grad(), tracing(model.module, address, lambda _chain: None) as tracer:
        model.run(model.input_copy(tensor[:1]))
    return tracer.ran and tracer.single and any(operation.call.name in EVALUATORS for operation in tracer.chain)
