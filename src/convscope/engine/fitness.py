"""Which lenses can look at a network at all, found by trying the few things on which that hangs."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from convscope.engine.gradients import input_gradient, settle
from convscope.engine.inputs import Images
from convscope.engine.layers import LAST_SPATIAL, find_layers
from convscope.engine.model import Model
from convscope.engine.rules.composites import composite_of
from convscope.engine.rules.flow import flow_back
from convscope.engine.rules.lrp import Relevance
from convscope.engine.rules.operations import GATES
from convscope.engine.targets import TOP1, aim_at
from convscope.errors import ConvScopeError
from convscope.spec import LensSpec


@dataclass
class Fitness:
    """What a network allows.

    Attributes:
        without_layer: why no layer can be looked at, empty where one can; ``without_gradient`` and ``without_rules``
            the same for gradients and for backward rules.
        random: where it draws random numbers in eval mode.
        attention: whether it mixes places by attention.
    """

    without_layer: str = ""
    without_gradient: str = ""
    without_rules: str = ""
    random: str = ""
    attention: bool = False
    layer: str = ""
    axes: int = 2
    notes: list[str] = field(default_factory=list)

    def objection(self, spec: LensSpec) -> str:
        """Why a lens cannot look at this network; empty where it can."""
        if spec.takes_layer and self.without_layer:
            return self.without_layer
        if spec.family in ("gradient", "cam", "backward") and spec.takes_target and self.without_gradient:
            return self.without_gradient
        if spec.family == "backward" and self.without_rules:
            return self.without_rules
        return ""


def fitness(model: Model, images: Images) -> Fitness:
    """Try out the network on the first image: a forward, a gradient, the search for a layer, one pass under rules."""
    first = Images(images.tensor[:1], images.names[:1], single=True, spec=images.spec)
    found = Fitness(axes=len(images.extent))
    with model.untouched():
        settle(model, first, aim_at(TOP1, model, 1))
        found.without_gradient = _refusal(lambda: input_gradient(model, first, aim_at(TOP1, model, 1)))
        found.without_layer = _refusal(lambda: _note_layer(model, first, found))
        if not found.without_gradient:
            found.without_rules = _refusal(lambda: _note_rules(model, first, found))
    return found


def _refusal(attempt: Any) -> str:
    """What a refused attempt says, or nothing."""
    try:
        attempt()
    except ConvScopeError as error:
        return str(error)
    return ""


def _note_layer(model: Model, images: Images, found: Fitness) -> None:
    (found.layer,) = find_layers(model, LAST_SPATIAL, images.tensor)


def _note_rules(model: Model, images: Images, found: Fitness) -> None:
    seen = []

    def make(ledger: Any, rows: Tensor, copies: Tensor) -> Relevance:
        seen.append(ledger)
        return Relevance(composite_of("epsilon-plus"), ledger)

    try:
        flow_back(model, images, aim_at(TOP1, model, 1), make)
    finally:
        treated = {operation for ledger in seen for operation, _ in ledger.treated}
        found.attention = "softmax" in treated and "softmax" in GATES
        found.random = ", ".join(where for ledger in seen for where in ledger.random)
