"""Marking outdated content: what belongs to an earlier choice is dimmed and cannot be clicked until it is replaced."""

from nicegui import ui


def mark_outdated(*elements: ui.element) -> None:
    """Mark elements as belonging to an earlier choice."""
    for element in elements:
        element.classes(add="busy").props("aria-busy=true")


def mark_current(*elements: ui.element) -> None:
    """Mark elements as up to date."""
    for element in elements:
        element.classes(remove="busy").props(remove="aria-busy")
