"""Looking through many lenses for a report: passes are shared, and a lens that does not fit is noted, not fatal."""

from collections.abc import Mapping, Sequence
from typing import Any

from convscope.catalogue import find, lenses
from convscope.engine.together import look_through
from convscope.errors import ConvScopeError
from convscope.reporting.sections import Section
from convscope.spec import LensSpec

HEAVY = "perturbation"
"""The family whose lenses take hundreds of passes each: a report shows those of them that are named."""


def look(
    model: Any,
    image: Any,
    names: Sequence[str] | None,
    options: Mapping[str, Any],
    *,
    budgets: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Section]:
    """One section per image, with a prediction first and then what each lens shows.

    Args:
        budgets: parameters of single lenses, by command.
    """
    refused: dict[LensSpec, ConvScopeError] = {}
    columns = look_through(_chosen(names), model, image, options, budgets=budgets, refused=refused.__setitem__)
    if not columns:
        raise next(iter(refused.values()))
    reasons = {spec.title: str(error) for spec, error in refused.items()}
    return [Section(tuple(row), dict(reasons)) for row in zip(*columns, strict=True)]


def _chosen(names: Sequence[str] | None) -> list[LensSpec]:
    """The lenses of a report: what the network answers, and those asked for or all that explain it in few passes."""
    chosen = [find(n) for n in names] if names is not None else [spec for spec in lenses() if spec.family != HEAVY]
    explaining = [spec for spec in chosen if spec.name != "predict" and (names or spec.returns == "Attribution")]
    return [find("predict"), *explaining]
