"""The panel of a prediction: the best classes as bars, which can be clicked to be explained."""

from collections.abc import Callable
from html import escape
from typing import Any

from nicegui import ui

from convscope import render
from convscope.values import Prediction
from convscope.web.frame.page_context import PageContext
from convscope.web.panels import panel


@panel(Prediction)
def show(value: Prediction, context: PageContext) -> None:
    """Show the best classes with their confidences, and how to read them."""
    class_bars(value, context)
    ui.label(value.record.adapt_wording(context.tr(value.record.reads))).classes("small")
    for note in render.notes(value):
        ui.label(context.tr(note.text)).classes("warning" if note.warning else "small")


def class_bars(
    value: Prediction, context: PageContext, *, chosen: int | None = None, pick: Callable[[int], Any] | None = None
) -> dict[int, ui.html]:
    """Add the classes as bars and return them by class index; with ``pick``, each is a button that calls it.

    Args:
        chosen: the index of the class that is explained.
    """
    with ui.element("ol").classes("bars").props(f'aria-label="{context.tr("Predicted classes")}"'):
        elements = {}
        for index, answer in zip(value.indices, render.top_classes(value), strict=True):
            with ui.element("li"):
                elements[index] = _bar(context.tr(answer.name), answer, index, pick)
    mark_explained(elements, chosen if pick else None)
    return elements


def mark_explained(class_bars: dict[int, ui.html], chosen: int | None) -> None:
    """Mark the class that is explained."""
    for index, element in class_bars.items():
        element.classes(add="chosen") if index == chosen else element.classes(remove="chosen")
        if element.props.get("type") == "button":
            element.props(f"aria-pressed={'true' if index == chosen else 'false'}")


def _bar(name: str, answer: render.TopClass, index: int, pick: Callable[[int], Any] | None) -> ui.html:
    content = f'<span class="name">{escape(name)}</span><span class="share">{answer.value_text}</span>'
    if answer.share is not None:
        percent = 100 * min(1.0, max(0.0, answer.share))
        content += f'<span class="track"><span class="fill" style="width: {percent:.2f}%"></span></span>'
    element = ui.html(content, sanitize=False, tag="button" if pick else "div").classes("answer")
    if pick is not None:
        element.props("type=button").on("click", lambda: pick(index))
    return element
