"""Marks the place with which a map compares all others, and its matches where it lies in a second input."""

from collections.abc import Sequence
from dataclasses import replace

from convscope.render.panel import Panel
from convscope.values import Attribution


def mark_places(attribution: Attribution, panels: Sequence[Panel], guide: Panel | None) -> list[Panel]:
    """The panels of a map with the place marked in each, or with its matches, and the guide with the place before them.

    Args:
        guide: the second input, in which the place lies; None if it lies in the same input or cannot be drawn.
    """
    if not has_marks(attribution):
        return list(panels)
    if attribution.guide is None:
        return [_marked(panel, (attribution.place,), "the place marked") for panel in panels]
    matched = [_marked(panel, tuple(attribution.matches.values()), "the match marked") for panel in panels]
    if guide is None:
        return matched
    return [_marked(replace(guide, caption="second input"), (attribution.place,), "the place marked"), *matched]


def has_marks(attribution: Attribution) -> bool:
    """Whether places of a map are marked: along a signal or in an image; not in the slices of a volume or a clip."""
    return bool(attribution.place) and attribution.values.ndim == len(attribution.place) <= 2


def mark_spans(attribution: Attribution) -> str:
    """The marks as HTML elements that lie over the map of an image."""
    places = attribution.matches.values() if attribution.guide is not None else [attribution.place]
    if not has_marks(attribution) or attribution.values.ndim != 2:
        return ""
    return "".join(
        f'<span class="place-mark" style="top: {100 * down:.3f}%; left: {100 * across:.3f}%"></span>'
        for down, across in places
    )


def _marked(panel: Panel, places: tuple[tuple[float, ...], ...], words: str) -> Panel:
    return replace(panel, marks=places, caption=f"{panel.caption}, {words}")
