"""Plain HTML buttons in the style of the workbench, reachable by keyboard and labelled for screen readers."""

from collections.abc import Callable
from html import escape
from typing import Any

from nicegui import ui


def button(text: str, on_click: Callable[[], Any], *, style: str = "", name: str = "") -> ui.html:
    """A button with a text.

    Args:
        style: ``main`` for the main action of a page, ``plain`` for secondary ones.
        name: its accessible name where the text says too little.
    """
    element = (
        ui.html(escape(text), sanitize=False, tag="button").classes(f"button {style}".strip()).props("type=button")
    )
    if name:
        element.props(f'aria-label="{escape(name)}"')
    element.on("click", on_click)
    return element


def toggle(text: str, on: bool, on_click: Callable[[], Any]) -> ui.html:
    """A chip that can be pressed and released."""
    element = ui.html(escape(text), sanitize=False, tag="button").classes("chip")
    element.props(f"type=button aria-pressed={'true' if on else 'false'}").on("click", on_click)
    return element
