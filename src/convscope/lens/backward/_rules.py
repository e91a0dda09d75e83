"""What the lenses of modified gradients and of relevance share."""

from typing import Annotated, Literal

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.modified_gradients import ModifiedGradient
from convscope.engine.rules.run import Flow, Make, flow_back, said_of
from convscope.engine.targets.target import Aim
from convscope.runtime.declaration import attributions
from convscope.spec import Param
from convscope.values import Attribution

OnMissing = Annotated[
    Literal["error", "gradient"],
    Param(help="at an operation without a rule: refuse, or let its plain gradient through and say so"),
]

Epsilon = Annotated[
    float, Param(help="strength of the ε in LRP-ε; 0 is the zero rule", min=0, max=10, unit="score units")
]

Bias = Annotated[
    Literal["absorb", "share"],
    Param(help="biases take their share of the relevance, or leave it to the inputs"),
]


def modified(method: ModifiedGradient) -> Make:
    """A method that is the same for every chunk."""
    return lambda ledger, rows, copies: method


def gradient_values(
    model: Model, images: Images, aim: Aim, method: ModifiedGradient, on_missing: str
) -> list[Attribution]:
    """Maps of a modified gradient: what flowed back to the pixels, channels added up."""
    flow = flow_back(model, images, aim, modified(method), on_missing=on_missing)
    return attributions(
        model, images, aim, flow.multiplier.sum(1), channels=flow.multiplier, notes=rule_notes(flow, len(images))
    )


def rule_notes(flow: Flow, images: int) -> list[dict[str, object]]:
    """How many operations each rule treated, and what had none."""
    return [{"rules": flow.ledgers[0].rules(), **said_of(flow)} for _ in range(images)]


def shaped(numbers: Tensor, like: Tensor) -> Tensor:
    """One number per image (N,) shaped to multiply ``like`` (N, …)."""
    return numbers.to(like).view(-1, *[1] * (like.ndim - 1))
