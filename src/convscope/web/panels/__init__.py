"""How values are shown on a page, one kind in each module of this package.

A value without a panel is shown as its rendered picture.
"""

import base64
import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from html import escape
from typing import Any

from nicegui import ui

from convscope import render
from convscope.values import Value
from convscope.web.frame.page_context import PageContext

PanelBuilder = Callable[[Any, PageContext], None]
PANELS: dict[type[Value], PanelBuilder] = {}
"""The registered panels, by kind of value."""


def panel(kind: type[Value]) -> Callable[[PanelBuilder], PanelBuilder]:
    """Register a function ``(value, context)`` that adds NiceGUI elements as the panel of this kind of value."""

    def register(builder: PanelBuilder) -> PanelBuilder:
        PANELS[kind] = builder
        return builder

    return register


def show(value: Value, context: PageContext) -> None:
    """Show a value at the current position of the page."""
    _import_panels()
    builder = next((PANELS[kind] for kind in type(value).__mro__ if kind in PANELS), show_picture)
    builder(value, context)


def show_picture(value: Value, context: PageContext) -> None:
    """The rendered picture of a value, how to read it, and the notes of the lens."""
    theme = "dark" if context.dark else "light"
    options = {"bare": True} if render.has_bare_picture(value) else {}
    png = render.picture(value, theme=theme, **options).png()
    with ui.element("figure").classes("value"):
        ui.html(f'<img src="{data_uri(png)}" alt="{escape(context.tr(render.alt(value)))}">', sanitize=False)
        with ui.element("figcaption"):
            if value.record.reads:
                ui.label(value.record.adapt_wording(context.tr(value.record.reads))).classes("reads")
            for note in render.notes(value):
                text = value.record.adapt_wording(context.tr(note.text))
                ui.label(text).classes("note warning" if note.warning else "note small")


def data_uri(png: bytes) -> str:
    """A picture as a data URI, which is part of the page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


@cache
def _import_panels() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
