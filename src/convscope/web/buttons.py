"""Buttons as the browser makes them: reached by the keyboard, read out by name, drawn by the workbench's style."""

from collections.abc import Callable
from html import escape
from typing import Any

from nicegui import ui


def button(text: str, on_click: Callable[[], Any], *, style: str = "", name: str = "") -> ui.html:
    """A button with a text.

    Args:
        style: ``main`` for what a page is about, ``plain`` for what stands aside.
        name: what it is called where its text says too little.
    """
    made = ui.html(escape(text), sanitize=False, tag="button").classes(f"button {style}".strip()).props("type=button")
    if name:
        made.props(f'aria-label="{escape(name)}"')
    made.on("click", on_click)
    return made


def toggle(text: str, on: bool, on_click: Callable[[], Any]) -> ui.html:
    """A chip that is pressed or not."""
    made = ui.html(escape(text), sanitize=False, tag="button").classes("chip")
    made.props(f"type=button aria-pressed={'true' if on else 'false'}").on("click", on_click)
    return made
