"""What a value can be taken home as: a button for each kind of file."""

from functools import partial
from typing import TYPE_CHECKING

from nicegui import ui

from convscope.values import Value
from convscope.web.buttons import button
from convscope.web.export import endings, file_of, name_of

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

WHAT = {".png": "Picture", ".npz": "Numbers", ".json": "Manifest", ".gif": "Moving picture"}


def downloads(value: Value, place: "Place") -> None:
    """Buttons that write a value anew and hand it over; pictures come in the colours of the page."""
    with ui.element("div").classes("row-of downloads"):
        for ending in endings(value):
            options = {"theme": "dark" if place.dark else "light"} if ending == ".png" else {}
            made = partial(file_of, value, ending, **options)
            text = f"{place.say(WHAT[ending])} {ending}"
            button(text, partial(place.hand_over, made, name_of(value, ending))).mark(f"get{ending}")
