"""Which lenses can look at a network at all, found by trying the few things on which that hangs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, find_layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import input_gradient
from convscope.engine.targets.target import TOP1, aim_at
from convscope.errors import ConvScopeError
from convscope.runtime.declaration import conduct
from convscope.spec import LensSpec


@dataclass
class Fitness:
    """What a network allows.

    Attributes:
        without_layer: why no layer can be looked at, empty where one can; ``layer`` the one that is by default.
        without_gradient: why there is no gradient, empty where there is one.
        refusals: what single lenses of backward rules said, by command.
        random: where it draws random numbers in eval mode.
        attention: whether it mixes places by attention.
    """

    layer: str = ""
    without_layer: str = ""
    without_gradient: str = ""
    refusals: dict[str, str] = field(default_factory=dict)
    random: str = ""
    attention: bool = False

    def objection(self, spec: LensSpec) -> str:
        """Why a lens cannot look at this network; empty where it can."""
        if spec.takes_layer and self.without_layer:
            return self.without_layer
        if spec.family in ("gradient", "cam", "backward") and spec.takes_target and self.without_gradient:
            return self.without_gradient
        return self.refusals.get(spec.command, "")


def fitness(model: Model, images: Images, specs: Iterable[LensSpec]) -> Fitness:
    """Try out the network on the first image: a gradient, the search for a layer, and each lens of backward rules."""
    first = Images(images.tensor[:1], images.names[:1], single=True, spec=images.spec)
    found = Fitness()

    def look_for_layer() -> None:
        (found.layer,) = find_layers(model, LAST_SPATIAL, lambda: first.tensor)

    with model.untouched():
        found.without_gradient = _refusal(lambda: input_gradient(model, first, aim_at(TOP1, model, 1)))
        found.without_layer = _refusal(look_for_layer)
        for spec in specs:
            if spec.family == "backward" and not found.objection(spec):
                said = _refusal(lambda spec=spec: _try(spec, model, first, found))  # type: ignore[misc]
                found.refusals |= {spec.command: said} if said else {}
    return found


def _try(spec: LensSpec, model: Model, image: Images, found: Fitness) -> None:
    """Look through a lens once, and note what it says of the network."""
    once = {"samples": 1} if "samples" in spec.parameters else {}
    notes = conduct(spec, {"model": model, "image": image, **once}).notes
    found.attention |= any(operation.startswith("softmax") for operation in notes.get("rules", ()))
    found.random = found.random or notes.get("nondeterministic", "")


def _refusal(attempt: Callable[[], object]) -> str:
    """What a refused attempt says, or nothing."""
    try:
        attempt()
    except ConvScopeError as error:
        return str(error)
    return ""
