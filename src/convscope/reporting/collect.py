"""Looking through many lenses for a report: passes are shared, and a lens that does not fit is noted, not fatal."""

from collections.abc import Mapping, Sequence
from typing import Any

from convscope.catalogue import find, lenses
from convscope.engine.network.model import as_model
from convscope.errors import ConvScopeError
from convscope.reporting.sections import Section
from convscope.runtime.multi_run import explain_network_with_each, explain_with_each, refuse_unknown
from convscope.spec import LensSpec

HEAVY = ("perturbation", "learned")
"""The families whose lenses take hundreds of passes each: a report shows those of them that are named."""


def look(
    model: Any,
    image: Any,
    names: Sequence[str] | None,
    options: Mapping[str, Any],
    *,
    budgets: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Section]:
    """One section per image, with a prediction first and then what each lens shows, and one on the network itself.

    Args:
        budgets: parameters of single lenses, by command.
    """
    chosen = _chosen(names)
    refuse_unknown(chosen, options)
    model = as_model(model)
    each = [spec for spec in chosen if spec.each_image]
    whole = [spec for spec in chosen if not spec.each_image]
    refused: dict[LensSpec, ConvScopeError] = {}
    columns = explain_with_each(
        each, model, image, _fitting(each, options), budgets=budgets, on_refusal=refused.__setitem__
    )
    if not columns:
        raise next(iter(refused.values()))
    sections = [Section(tuple(row), _reasons(refused)) for row in zip(*columns, strict=True)]
    refused = {}
    values = explain_network_with_each(
        whole, model, image, _fitting(whole, options), budgets=budgets, on_refusal=refused.__setitem__
    )
    if whole:
        sections.append(Section(tuple(values), _reasons(refused), title=f"The network {model.name} itself"))
    return sections


def _chosen(names: Sequence[str] | None) -> list[LensSpec]:
    """The lenses of a report: what the network answers, and those asked for or all that take few passes."""
    chosen = [find(n) for n in names] if names is not None else [s for s in lenses() if _light(s)]
    return [find("predict"), *(spec for spec in chosen if spec.name != "predict")]


def _light(spec: LensSpec) -> bool:
    """Whether a lens looks into the network in few passes and asks for nothing more than it and an image."""
    return spec.family not in HEAVY and "model" in spec.inputs and not {"unit", "guide", "style"} & {*spec.required}


def _fitting(declarations: Sequence[LensSpec], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that one of these lenses takes."""
    known = {name for spec in declarations for name in (*spec.inputs, *spec.parameters)} | {"smooth"}
    return {name: value for name, value in options.items() if name in known}


def _reasons(refused: Mapping[LensSpec, ConvScopeError]) -> dict[str, str]:
    return {spec.title: str(error) for spec, error in refused.items()}
