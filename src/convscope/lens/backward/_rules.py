"""Parameters and helpers shared by the lenses of modified gradients and of relevance."""

from typing import Annotated, Literal

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.backward_pass import BackwardResult, MethodFactory, backpropagate, operation_notes
from convscope.engine.rules.modified_gradients import ModifiedGradient
from convscope.engine.targets.target import Target
from convscope.runtime.declaration import attributions
from convscope.spec import Param
from convscope.values import Attribution

OnMissing = Annotated[
    Literal["error", "gradient"],
    Param(help="at an operation without a rule: raise an error, or use its plain gradient and note it"),
]

Epsilon = Annotated[
    float, Param(help="strength of the ε in LRP-ε; 0 is the zero rule", min=0, max=10, unit="score units")
]

Bias = Annotated[
    Literal["absorb", "share"],
    Param(help="whether biases absorb part of the relevance or pass it on to the inputs"),
]


def constant_method(method: ModifiedGradient) -> MethodFactory:
    """A factory that returns the same method for every chunk."""
    return lambda rule_log, rows, copies: method


def gradient_values(
    model: Model, images: Images, target: Target, method: ModifiedGradient, on_missing: str
) -> list[Attribution]:
    """Maps of a modified gradient: the gradient at the pixels, summed over channels."""
    result = backpropagate(model, images, target, constant_method(method), on_missing=on_missing)
    return attributions(
        model,
        images,
        target,
        result.multiplier.sum(1),
        channels=result.multiplier,
        notes=rule_notes(result, len(images)),
    )


def rule_notes(result: BackwardResult, images: int) -> list[dict[str, object]]:
    """For each image: how many operations each rule treated, and which operations had none."""
    return [{"rules": result.rule_logs[0].rule_counts(), **operation_notes(result)} for _ in range(images)]


def broadcast_to(numbers: Tensor, like: Tensor) -> Tensor:
    """One number per image (N,), shaped to broadcast over ``like`` (N, …)."""
    return numbers.to(like).view(-1, *[1] * (like.ndim - 1))
