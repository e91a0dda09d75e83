"""Looking through many lenses for a report: passes are shared, and a lens that does not fit is noted, not fatal."""

from collections.abc import Mapping, Sequence
from typing import Any

from convscope.catalogue import find, lenses
from convscope.engine.cost import progress, reporting
from convscope.engine.gradients import sharing
from convscope.engine.lens import conduct
from convscope.engine.model import as_model
from convscope.engine.targets import TOP1, aim_at
from convscope.errors import LayerError, NoGradient, OutputError, ParameterError, did_you_mean
from convscope.reporting.sections import Section
from convscope.spec import LensSpec
from convscope.values import Value

DOES_NOT_FIT = (LayerError, NoGradient, OutputError)
"""Refusals that say something about lens and network; any other is a mistake in the request and stops the report."""


def look(model: Any, image: Any, names: Sequence[str] | None, options: Mapping[str, Any]) -> list[Section]:
    """One section per image, with a prediction first and then what each lens shows."""
    specs = _chosen(names)
    _refuse_unknown(specs, options)
    model = as_model(model)
    images = model.prepare(image)
    given = {**options, "target": aim_at(options.get("target", TOP1), model, len(images))}
    rows: list[list[Value]] = [[] for _ in range(len(images))]
    refused: dict[str, str] = {}
    first: Exception | None = None
    with model.untouched(), sharing(aim=given["target"]):
        for done, spec in enumerate(specs):
            taken = {k: v for k, v in given.items() if k in spec.inputs or k in spec.parameters}
            try:
                with reporting(None):
                    found = conduct(spec, {"model": model, "image": images, **taken})
            except DOES_NOT_FIT as error:
                refused[spec.title] = str(error)
                first = first or error
            else:
                for row, value in zip(rows, [found] if images.single else found, strict=True):
                    row.append(value)
            progress(done + 1, len(specs))
    if first is not None and not any(rows):
        raise first
    return [Section(tuple(row), dict(refused)) for row in rows]


def _chosen(names: Sequence[str] | None) -> list[LensSpec]:
    """The lenses of a report: what the network answers, and those that were asked for or all that explain it."""
    chosen = [find(name) for name in names] if names is not None else lenses()
    explaining = [spec for spec in chosen if spec.name != "predict" and (names or spec.returns == "Attribution")]
    return [find("predict"), *explaining]


def _refuse_unknown(specs: Sequence[LensSpec], options: Mapping[str, Any]) -> None:
    known = {name for spec in specs for name in (*spec.inputs, *spec.parameters)} - {"model", "image"} | {"target"}
    for name in options:
        if name not in known:
            raise ParameterError(f"none of the report's lenses has a parameter {name!r}{did_you_mean(name, known)}")
