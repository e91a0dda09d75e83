"""What was shown for an earlier choice and waits for what takes its place: faint and not to be clicked, at once."""

from nicegui import ui


def stale(*elements: ui.element) -> None:
    """Show that these still belong to an earlier choice."""
    for element in elements:
        element.classes(add="busy").props("aria-busy=true")


def fresh(*elements: ui.element) -> None:
    """Show that these belong to what is chosen now."""
    for element in elements:
        element.classes(remove="busy").props(remove="aria-busy")
