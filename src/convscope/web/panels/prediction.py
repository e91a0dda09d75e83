"""How an answer is shown: the best classes as bars, each of which may be picked to be explained."""

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from nicegui import ui

from convscope import render
from convscope.values import Prediction
from convscope.web.panels import panel

if TYPE_CHECKING:
    from convscope.web.page_layout import Place


@panel(Prediction)
def show(value: Prediction, place: "Place") -> None:
    """Show the best classes with their confidence, and how to read it."""
    bars(value, place)
    ui.label(value.record.worded(place.say(value.record.reads))).classes("small")
    for note in render.notes(value):
        ui.label(place.say(note.text)).classes("warning" if note.warning else "small")


def bars(
    value: Prediction, place: "Place", *, chosen: int | None = None, pick: Callable[[int], Any] | None = None
) -> dict[int, ui.html]:
    """The classes as bars, by number; with ``pick`` each is a button that tells its number.

    Args:
        chosen: the number of the class that is explained now.
    """
    with ui.element("ol").classes("bars").props(f'aria-label="{place.say("What the model answers")}"'):
        made = {}
        for index, answer in zip(value.indices, render.answers(value), strict=True):
            with ui.element("li"):
                made[index] = _bar(place.say(answer.name), answer, index, pick)
    mark(made, chosen if pick else None)
    return made


def mark(bars: dict[int, ui.html], chosen: int | None) -> None:
    """Show which class is explained now, where one can be picked."""
    for index, bar in bars.items():
        bar.classes(add="chosen") if index == chosen else bar.classes(remove="chosen")
        if bar.props.get("type") == "button":
            bar.props(f"aria-pressed={'true' if index == chosen else 'false'}")


def _bar(name: str, answer: render.Answer, index: int, pick: Callable[[int], Any] | None) -> ui.html:
    inner = f'<span class="name">{escape(name)}</span><span class="share">{answer.said}</span>'
    if answer.share is not None:
        filled = 100 * min(1.0, max(0.0, answer.share))
        inner += f'<span class="track"><span class="fill" style="width: {filled:.2f}%"></span></span>'
    made = ui.html(inner, sanitize=False, tag="button" if pick else "div").classes("answer")
    if pick is not None:
        made.props("type=button").on("click", lambda: pick(index))
    return made
