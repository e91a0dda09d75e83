"""Applies many lenses for a report: passes are shared, and a lens that does not work is listed with its reason."""

from collections.abc import Mapping, Sequence
from typing import Any

from convscope.catalogue import find, lenses
from convscope.engine.network.model import as_model
from convscope.errors import CapabilityError, ConvScopeError
from convscope.reporting.sections import Section
from convscope.runtime.multi_run import explain_network_with_each, explain_with_each, refuse_unknown
from convscope.runtime.several_inputs import task_on
from convscope.spec import LensSpec, inputs_with
from convscope.spec.tasks import Task


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
    model = as_model(model)
    chosen, left_out = chosen_lenses(names, None if names is not None else task_on(model, image))
    refuse_unknown([*chosen, *left_out], options)
    each = [spec for spec in chosen if spec.each_image]
    on_network = [spec for spec in chosen if not spec.each_image]
    refused: dict[LensSpec, ConvScopeError] = {}
    columns = explain_with_each(
        each, model, image, _accepted(each, options), budgets=budgets, on_refusal=refused.__setitem__
    )
    if not columns:
        raise next(iter(refused.values()))
    reasons = _reasons(refused, named=names is not None) | {spec.title: why for spec, why in left_out.items()}
    sections = [Section(tuple(row), reasons) for row in zip(*columns, strict=True)]
    refused = {}
    values = explain_network_with_each(
        on_network, model, image, _accepted(on_network, options), budgets=budgets, on_refusal=refused.__setitem__
    )
    if on_network:
        sections.append(
            Section(tuple(values), _reasons(refused, named=names is not None), title=f"The network {model.name} itself")
        )
    return sections


def chosen_lenses(names: Sequence[str] | None, task: Task | None) -> tuple[list[LensSpec], Mapping[LensSpec, str]]:
    """The lenses of a report, and those that it leaves out, with the reason.

    Args:
        names: the lenses that were named; None for all that need few passes and suit the task.
        task: what the network does.
    """
    chosen = [find(name) for name in names] if names is not None else [spec for spec in lenses() if _is_default(spec)]
    left_out = {} if names is not None else {spec: why for spec in chosen if (why := _off_object(spec, task))}
    suitable = [spec for spec in chosen if spec.name != "predict" and spec not in left_out]
    return [find("predict"), *suitable], left_out


def _off_object(spec: LensSpec, task: Task | None) -> str:
    """Why the map of a lens may lie on another object than the one explained; empty where nothing says so."""
    weakness = spec.weakness_for(task)
    return weakness and f"its map may miss the object: {weakness}; named, as in lenses=[{spec.command!r}], it is shown"


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
