"""Which lenses work on a network, found by trying the few things on which that depends."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, resolve_layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import input_gradient
from convscope.engine.targets.target import TOP1, resolve_target
from convscope.errors import ConvScopeError
from convscope.runtime.capabilities import missing_capability, require_attention, require_gates
from convscope.runtime.lens_call import call_lens
from convscope.spec import LensSpec


@dataclass
class Applicability:
    """What a network supports.

    Attributes:
        layer: the default layer, if there is one.
        why_no_layer: why there is no default layer; empty where there is one.
        why_no_gradient: why there is no gradient; empty where there is one.
        refusals: what single lenses with backward rules said, by command.
        random: the note on random numbers in eval mode, if the network draws any.
        attention: whether it mixes positions by attention.
    """

    layer: str = ""
    why_no_layer: str = ""
    why_no_gradient: str = ""
    refusals: dict[str, str] = field(default_factory=dict)
    random: str = ""
    attention: bool = False

    def refusal(self, spec: LensSpec) -> str:
        """Why a lens does not work on this network; empty where it does."""
        if spec.command in self.refusals:
            return self.refusals[spec.command]
        if spec.takes_layer and self.why_no_layer:
            return self.why_no_layer
        if "gradients" in spec.needs and spec.takes_target and self.why_no_gradient:
            return self.why_no_gradient
        return ""


def find_applicability(model: Model, images: Images, specs: Collection[LensSpec]) -> Applicability:
    """Try the network on the first image: a gradient, the default layer, and each lens with backward rules."""
    first = Images(images.tensor[:1], images.names[:1], single=True, spec=images.spec)
    result = Applicability()
    lacking = {spec.command: missing_capability(spec, model) for spec in specs}
    result.refusals = {command: reason for command, reason in lacking.items() if reason}
    if result.refusals:  # only the scores are known
        return result

    def find_default_layer() -> None:
        (result.layer,) = resolve_layers(model, LAST_SPATIAL, lambda: first.tensor)

    with model.preserve_state():
        result.why_no_gradient = _refusal(lambda: input_gradient(model, first, resolve_target(TOP1, model, 1)))
        result.why_no_layer = _refusal(find_default_layer)
        for spec in specs:
            for requirement in (require_attention, require_gates):
                refusal = _refusal(lambda spec=spec, require=requirement: require(spec, model, first.tensor))  # type: ignore[misc]
                result.refusals |= {spec.command: refusal} if refusal else {}
            if _must_be_tried(spec, model) and not result.refusal(spec):
                refusal = _refusal(lambda spec=spec: _try(spec, model, first, result))  # type: ignore[misc]
                result.refusals |= {spec.command: refusal} if refusal else {}
    return result


def _must_be_tried(spec: LensSpec, model: Model) -> bool:
    """Whether only a run shows that a lens works: rules for operations, and CAMs of maps of scores and of boxes."""
    if "operations" in spec.needs:
        return True
    other_task = model.task is not None and model.task.class_scorer is not None
    return other_task and spec.takes_layer and "gradients" in spec.needs and not spec.many_passes


def _try(spec: LensSpec, model: Model, image: Images, result: Applicability) -> None:
    """Run a lens once, and keep what its notes say about the network."""
    fewest = {"samples": 1} if "samples" in spec.parameters else {}
    notes = call_lens(spec, {"model": model, "image": image, **fewest}).notes
    result.attention |= any(operation.startswith("softmax") for operation in notes.get("rules", ()))
    result.random = result.random or notes.get("nondeterministic", "")


def _refusal(attempt: Callable[[], object]) -> str:
    """The message with which an attempt is refused; empty where it succeeds."""
    try:
        attempt()
    except ConvScopeError as error:
        return str(error)
    return ""
