"""The panels of what a network answers: rows with bars, which can be clicked to be explained, below a picture."""

from collections.abc import Callable
from html import escape
from typing import Any

from nicegui import ui

from convscope import render
from convscope.values import Detections, Prediction, Segmentation
from convscope.web.frame.page_context import PageContext
from convscope.web.panels import data_uri, panel


@panel(Prediction)
@panel(Segmentation)
@panel(Detections)
def show(value: render.Answer, context: PageContext) -> None:
    """Show the answer as a picture and rows, and how to read it."""
    answer_picture(value, context)
    answer_bars(value, context)
    ui.label(value.record.adapt_wording(context.tr(value.record.reads))).classes("small")
    for note in render.notes(value):
        ui.label(context.tr(note.text)).classes("warning" if note.warning else "small")


ON_PLACE_CLICK = (
    "(e) => {const r = e.currentTarget.getBoundingClientRect(); "
    "emit((e.clientY - r.top) / r.height, (e.clientX - r.left) / r.width);}"
)
"""Emits where a picture was clicked, as fractions of its height and width."""


def answer_picture(
    value: render.Answer, context: PageContext, *, pick_place: Callable[[int, int], Any] | None = None
) -> None:
    """Add the picture of a segmentation or of boxes; a prediction of classes has none beside its input.

    Args:
        pick_place: called with the row and the column of the input at which a segmentation was clicked.
    """
    if not render.has_bare_picture(value) or value.photo is None:
        return
    png = render.picture(value, theme="dark" if context.dark else "light", bare=True).png()
    alt = escape(context.tr(render.alt(value)))
    photo = render.photo_pixels(value)
    is_clickable = pick_place is not None and isinstance(value, Segmentation) and photo is not None
    style = "width: fit-content; line-height: 0;" + (" cursor: crosshair" if is_clickable else "")
    element = ui.html(f'<img src="{data_uri(png)}" alt="{alt}" style="max-width: 100%">', sanitize=False).style(style)
    if pick_place is not None and photo is not None and is_clickable:
        height, width = photo.shape[:2]

        def on_click(event: Any) -> None:
            down, across = (min(max(float(fraction), 0.0), 0.999999) for fraction in event.args)
            pick_place(int(down * height), int(across * width))

        element.mark("place").on("click", on_click, js_handler=ON_PLACE_CLICK)
        ui.label(context.tr("Click a place in the picture to explain the class there.")).classes("small")


def answer_bars(
    value: render.Answer, context: PageContext, *, chosen: int | None = None, pick: Callable[[int], Any] | None = None
) -> dict[int, ui.html]:
    """Add the rows with bars and return them by key; with ``pick``, each is a button that calls it with its key.

    Args:
        chosen: the key of the row that is explained.
    """
    with ui.element("ol").classes("bars").props(f'aria-label="{context.tr("Predicted classes")}"'):
        elements = {}
        for answer in render.answers(value):
            with ui.element("li"):
                elements[answer.key] = _bar(context.tr(answer.name), answer, pick)
    mark_explained(elements, chosen if pick else None)
    return elements


def mark_explained(bars: dict[int, ui.html], chosen: int | None) -> None:
    """Mark the row that is explained."""
    for key, element in bars.items():
        element.classes(add="chosen") if key == chosen else element.classes(remove="chosen")
        if element.props.get("type") == "button":
            element.props(f"aria-pressed={'true' if key == chosen else 'false'}")


def _bar(name: str, answer: render.TopClass, pick: Callable[[int], Any] | None) -> ui.html:
    swatch = (
        f'<span style="display: inline-block; width: .8em; height: .8em; background: {answer.colour}"></span> '
        if answer.colour
        else ""
    )
    content = f'<span class="name">{swatch}{escape(name)}</span><span class="share">{answer.value_text}</span>'
    if answer.share is not None:
        percent = 100 * min(1.0, max(0.0, answer.share))
        content += f'<span class="track"><span class="fill" style="width: {percent:.2f}%"></span></span>'
    element = ui.html(content, sanitize=False, tag="button" if pick else "div").classes("answer")
    if pick is not None:
        element.props("type=button").on("click", lambda: pick(answer.key))
    return element
