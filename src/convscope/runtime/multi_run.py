"""Several lenses on the same images: the model is taken once, passes are shared, the target is one and the same."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convscope.engine.context.metering import progress, reporting
from convscope.engine.network.model import as_model
from convscope.engine.run.gradients import sharing
from convscope.engine.targets.target import TOP1, aim_at
from convscope.errors import ConvScopeError, LayerError, NoGradient, NoRule, OutputError, ParameterError, did_you_mean
from convscope.runtime.declaration import conduct
from convscope.spec import LensSpec
from convscope.values import Value

DOES_NOT_FIT = (LayerError, NoGradient, NoRule, OutputError)
"""Refusals that say something about lens and network; any other is a mistake in the request."""


Refused = Callable[[LensSpec, ConvScopeError], None]
"""Told of a lens that does not fit this network, which is then left out; without it, the refusal is raised."""


def explain_with_each(
    declarations: Sequence[LensSpec],
    model: Any,
    image: Any,
    options: Mapping[str, Any],
    *,
    budgets: Mapping[str, Mapping[str, Any]] | None = None,
    refused: Refused | None = None,
) -> list[list[Value]]:
    """One list of values per lens, one value per image, whatever was passed as ``image``.

    Args:
        declarations: lenses that look at each image.
        options: go to the lenses that have them; one that no lens has is refused.
        budgets: parameters of single lenses, by command.
    """
    refuse_unknown(declarations, options)
    model = as_model(model)
    images = model.prepare(image)
    given = dict(options)
    if any(d.takes_target for d in declarations):
        given["target"] = aim_at(options.get("target", TOP1), model, len(images))
    shared = {**given, "model": model, "image": images}
    with model.untouched(), sharing(aim=given.get("target")):
        found = _looked(declarations, shared, budgets or {}, refused)
    return [[values] if images.single else values for values in found]


def look_into(
    declarations: Sequence[LensSpec],
    model: Any,
    image: Any,
    options: Mapping[str, Any],
    *,
    budgets: Mapping[str, Mapping[str, Any]] | None = None,
    refused: Refused | None = None,
) -> list[Value]:
    """One value per lens of those that look at the network itself; data sets they take from ``image``."""
    model = as_model(model)
    images = model.prepare(image)
    given = {name: value for name, value in options.items() if name != "target"}
    with model.untouched():
        return _looked(declarations, {**given, "model": model, "images": images}, budgets or {}, refused)


def _looked(
    declarations: Sequence[LensSpec],
    shared: Mapping[str, Any],
    budgets: Mapping[str, Mapping[str, Any]],
    refused: Refused | None,
) -> list[Any]:
    """What each lens gives for those of the shared arguments that it takes."""
    found = []
    for done, declaration in enumerate(declarations):
        known = (*declaration.inputs, *declaration.parameters, "smooth")
        given = {**shared, **budgets.get(declaration.command, {})}
        try:
            with reporting(None):
                found.append(conduct(declaration, {name: given[name] for name in given if name in known}))
        except DOES_NOT_FIT as error:
            if refused is None:
                raise
            refused(declaration, error)
        progress(done + 1, len(declarations))
    return found


def refuse_unknown(declarations: Sequence[LensSpec], options: Mapping[str, Any]) -> None:
    """Refuse an option that none of the lenses takes."""
    known = {name for d in declarations for name in (*d.inputs, *d.parameters)} - {"model", "image", "images"} | {
        "smooth"
    }
    for name in options:
        if name not in known:
            names = ", ".join(d.command for d in declarations)
            raise ParameterError(f"none of {names} has a parameter {name!r}{did_you_mean(name, known)}")
