"""How values are shown on a page: one kind a file, found by being here.

Whatever has no panel is shown as its picture.
"""

import base64
import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from nicegui import ui

from convscope import render
from convscope.values import Value

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

Shower = Callable[[Any, "Place"], None]
PANELS: dict[type[Value], Shower] = {}
"""The register, by kind of value."""


def panel(kind: type[Value]) -> Callable[[Shower], Shower]:
    """Declare a function ``(value, place)`` that makes NiceGUI elements as what shows this kind of value."""

    def declare(shower: Shower) -> Shower:
        PANELS[kind] = shower
        return shower

    return declare


def show(value: Value, place: "Place") -> None:
    """Show a value where the page is being built."""
    _fill()
    shower = next((PANELS[kind] for kind in type(value).__mro__ if kind in PANELS), show_picture)
    shower(value, place)


def show_picture(value: Value, place: "Place") -> None:
    """The whole picture of a value, how to read it, and what the lens noted."""
    theme = "dark" if place.dark else "light"
    options = {"bare": True} if takes_bare(value) else {}
    drawn = render.picture(value, theme=theme, **options).png()
    with ui.element("figure").classes("value"):
        ui.html(f'<img src="{data_uri(drawn)}" alt="{_quoted(place.say(render.alt(value)))}">', sanitize=False)
        with ui.element("figcaption"):
            if value.record.reads:
                ui.label(value.record.worded(place.say(value.record.reads))).classes("reads")
            for note in render.notes(value):
                ui.label(value.record.worded(place.say(note.text))).classes("note warning" if note.warning else "note")


def data_uri(png: bytes) -> str:
    """A picture as part of a page, which fetches nothing for it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def takes_bare(value: Value) -> bool:
    """Whether this kind of value can be drawn without the words around it."""
    draw = next((render.RENDERERS[kind] for kind in type(value).__mro__ if kind in render.RENDERERS), None)
    return "bare" in ((draw.__kwdefaults__ or {}) if draw else {})


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


@cache
def _fill() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
