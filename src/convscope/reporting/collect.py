"""Applies many lenses for a report: passes are shared, and a lens that does not work is listed with its reason."""

from collections.abc import Mapping, Sequence
from typing import Any

from convscope.catalogue import find, lenses
from convscope.engine.network.model import as_model
from convscope.errors import CapabilityError, ConvScopeError
from convscope.reporting.sections import Section
from convscope.runtime.multi_run import explain_network_with_each, explain_with_each, refuse_unknown
from convscope.spec import LensSpec, inputs_with


def collect(
    model: Any,
    image: Any,
    names: Sequence[str] | None,
    options: Mapping[str, Any],
    *,
    budgets: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Section]:
    """One section per image, with a prediction first and then the value of each lens, and one section on the network.

    Args:
        budgets: parameters of single lenses, by command.
    """
    chosen = _chosen(names)
    refuse_unknown(chosen, options)
    model = as_model(model)
    each = [spec for spec in chosen if spec.each_image]
    on_network = [spec for spec in chosen if not spec.each_image]
    refused: dict[LensSpec, ConvScopeError] = {}
    columns = explain_with_each(
        each, model, image, _accepted(each, options), budgets=budgets, on_refusal=refused.__setitem__
    )
    if not columns:
        raise next(iter(refused.values()))
    sections = [Section(tuple(row), _reasons(refused, named=names is not None)) for row in zip(*columns, strict=True)]
    refused = {}
    values = explain_network_with_each(
        on_network, model, image, _accepted(on_network, options), budgets=budgets, on_refusal=refused.__setitem__
    )
    if on_network:
        sections.append(
            Section(tuple(values), _reasons(refused, named=names is not None), title=f"The network {model.name} itself")
        )
    return sections


def _chosen(names: Sequence[str] | None) -> list[LensSpec]:
    """The lenses of a report: the prediction, and those that were named, by default all that need few passes."""
    chosen = [find(n) for n in names] if names is not None else [s for s in lenses() if _is_default(s)]
    return [find("predict"), *(spec for spec in chosen if spec.name != "predict")]


def _is_default(spec: LensSpec) -> bool:
    """Whether a lens needs few passes, and no arguments beyond a network and an image."""
    explains_unit = spec.attributes and "unit" in spec.inputs and not spec.takes_target
    given = inputs_with("network", "image", "data set")
    needs_more = not {*spec.required} <= {*given}
    return not spec.many_passes and "model" in spec.inputs and not needs_more and not explains_unit


def _accepted(declarations: Sequence[LensSpec], options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options that at least one of these lenses has."""
    known = {name for spec in declarations for name in (*spec.inputs, *spec.parameters)} | {"smooth"}
    return {name: value for name, value in options.items() if name in known}


def _reasons(refused: Mapping[LensSpec, ConvScopeError], *, named: bool) -> dict[str, str]:
    """Why lenses do not work; that a network has no attention or no gates counts only where lenses were named."""
    return {
        spec.title: str(error)
        for spec, error in refused.items()
        if named or not (spec.needs & {"attention", "gates"} and isinstance(error, CapabilityError))
    }
