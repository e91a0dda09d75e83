"""Several lenses on the same images: the model is taken once, passes are shared, the target is one and the same."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convscope.engine.cost import progress, reporting
from convscope.engine.gradients import sharing
from convscope.engine.lens import conduct
from convscope.engine.model import as_model
from convscope.engine.targets import TOP1, aim_at
from convscope.errors import ConvScopeError, LayerError, NoGradient, NoRule, OutputError, ParameterError, did_you_mean
from convscope.spec import LensSpec
from convscope.values import Value

DOES_NOT_FIT = (LayerError, NoGradient, NoRule, OutputError)
"""Refusals that say something about lens and network; any other is a mistake in the request."""


def look_through(
    declarations: Sequence[LensSpec],
    model: Any,
    image: Any,
    options: Mapping[str, Any],
    *,
    budgets: Mapping[str, Mapping[str, Any]] | None = None,
    refused: Callable[[LensSpec, ConvScopeError], None] | None = None,
) -> list[list[Value]]:
    """One list of values per lens, one value per image, whatever was passed as ``image``.

    Args:
        options: go to the lenses that have them; one that no lens has is refused.
        budgets: parameters of single lenses, by command.
        refused: told of a lens that does not fit this network, which is then left out; without it, it raises.
    """
    _refuse_unknown(declarations, options)
    model = as_model(model)
    images = model.prepare(image)
    given = dict(options)
    if any(d.takes_target for d in declarations):
        given["target"] = aim_at(options.get("target", TOP1), model, len(images))
    found = []
    with model.untouched(), sharing(aim=given.get("target")):
        for done, declaration in enumerate(declarations):
            taken = {k: v for k, v in given.items() if k in (*declaration.inputs, *declaration.parameters, "smooth")}
            try:
                with reporting(None):
                    own = (budgets or {}).get(declaration.command, {})
                    values = conduct(declaration, {"model": model, "image": images, **taken, **own})
                found.append([values] if images.single else values)
            except DOES_NOT_FIT as error:
                if refused is None:
                    raise
                refused(declaration, error)
            progress(done + 1, len(declarations))
    return found


def _refuse_unknown(declarations: Sequence[LensSpec], options: Mapping[str, Any]) -> None:
    known = {name for d in declarations for name in (*d.inputs, *d.parameters)} - {"model", "image"} | {"smooth"}
    for name in options:
        if name not in known:
            names = ", ".join(d.command for d in declarations)
            raise ParameterError(f"none of {names} has a parameter {name!r}{did_you_mean(name, known)}")
