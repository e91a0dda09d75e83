"""Several lenses on the same images and target: the model is prepared once and passes are shared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from convscope.engine.context.metering import report_progress, reporting
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import as_model
from convscope.engine.run.gradients import sharing_forward, sharing_passes
from convscope.engine.targets.target import TOP1, resolve_target
from convscope.errors import (
    ConvScopeError,
    ParameterError,
    did_you_mean,
)
from convscope.runtime.capabilities import NOT_APPLICABLE
from convscope.runtime.lens_call import call_lens
from convscope.runtime.several_inputs import prepared_inputs
from convscope.spec import LensSpec
from convscope.values import Value

OnRefusal = Callable[[LensSpec, ConvScopeError], None]
"""Called with a lens that does not work on this network and is left out; without it the error is raised."""


def explain_with_each(
    declarations: Sequence[LensSpec],
    model: Any,
    image: Any,
    options: Mapping[str, Any],
    *,
    budgets: Mapping[str, Mapping[str, Any]] | None = None,
    on_refusal: OnRefusal | None = None,
) -> list[list[Value]]:
    """One list of values per lens, one value per image, whatever was passed as ``image``.

    Args:
        declarations: lenses that process each image.
        options: passed to the lenses that have them; an option that no lens has is refused.
        budgets: parameters of single lenses, by command.
    """
    refuse_unknown(declarations, options)
    model = as_model(model)
    images = prepared_inputs(model, image)
    arguments = dict(options)
    if any(d.takes_target for d in declarations):
        target = resolve_target(options.get("target", TOP1), model, len(images))
        if isinstance(images, Images):
            target.check_images(images)
        arguments["target"] = target
    shared = {**arguments, "model": model, "image": images}
    with model.preserve_state(), sharing_passes(target=arguments.get("target")):
        results = _call_each(declarations, shared, budgets or {}, on_refusal)
    return [[values] if images.single else values for values in results]


@contextmanager
def passes_for_targets(model: Any, image: Any, targets: int) -> Iterator[tuple[Any, Any]]:
    """The network and the image for calls with so many targets, whose gradients are taken from one forward pass."""
    if targets == 1:
        yield model, image
        return
    opened = as_model(model)
    with sharing_forward(opened):
        yield opened, prepared_inputs(opened, image)


def explain_network_with_each(
    declarations: Sequence[LensSpec],
    model: Any,
    image: Any,
    options: Mapping[str, Any],
    *,
    budgets: Mapping[str, Mapping[str, Any]] | None = None,
    on_refusal: OnRefusal | None = None,
) -> list[Value]:
    """One value per lens, for lenses that describe the network as a whole; ``image`` serves them as a data set."""
    model = as_model(model)
    images = prepared_inputs(model, image)
    arguments = {name: value for name, value in options.items() if name != "target"}
    with model.preserve_state():
        return _call_each(declarations, {**arguments, "model": model, "images": images}, budgets or {}, on_refusal)


def _call_each(
    declarations: Sequence[LensSpec],
    shared: Mapping[str, Any],
    budgets: Mapping[str, Mapping[str, Any]],
    on_refusal: OnRefusal | None,
) -> list[Any]:
    """The result of each lens, called with those of the shared arguments that it takes."""
    results = []
    for done, declaration in enumerate(declarations):
        known = (*declaration.inputs, *declaration.parameters, "smooth", "explain")
        arguments = {**shared, **budgets.get(declaration.command, {})}
        try:
            with reporting(None):
                results.append(call_lens(declaration, {name: arguments[name] for name in arguments if name in known}))
        except NOT_APPLICABLE as error:
            if on_refusal is None:
                raise
            on_refusal(declaration, error)
        report_progress(done + 1, len(declarations))
    return results


def refuse_unknown(declarations: Sequence[LensSpec], options: Mapping[str, Any]) -> None:
    """Refuse an option that none of the lenses has."""
    known = {name for d in declarations for name in (*d.inputs, *d.parameters)} - {"model", "image", "images"} | {
        "smooth",
        "explain",
    }
    for name in options:
        if name not in known:
            names = ", ".join(d.command for d in declarations)
            raise ParameterError(f"none of {names} has a parameter {name!r}{did_you_mean(name, known)}")
