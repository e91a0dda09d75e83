"""Fields with suggestions: the addresses of a network's layers, its units, its classes.

A network may take seconds to open, so the suggestions come after the field.
"""

import itertools
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from nicegui import background_tasks, ui

from convscope.errors import ConvScopeError
from convscope.web.jobs.waiting import aside

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

MOST = 2000
"""So many suggestions are made; of more a line says so."""
_NUMBERS = itertools.count(1)


def suggesting(
    kind: str, label: str, value: str, place: "Place", model: str, on_change: Callable[[str], None]
) -> ui.input:
    """A field of text with suggestions from a network.

    Args:
        kind: ``layer``, ``unit`` or ``target``.
        label: what the field is called, in English.
        model: the address of the network.
        on_change: told the text once typing pauses.
    """
    listed = f"{kind}s-{next(_NUMBERS)}"
    field = ui.input(place.say(label), value=value, on_change=lambda event: on_change(event.value or ""))
    field.props(f'outlined dense debounce=350 stack-label hide-bottom-space clearable list="{listed}"').mark(kind)
    options = ui.html("", sanitize=False).style("display: none")  # a list that only the field shows

    async def fill() -> None:
        found = await aside(suggestions, kind, place, model)
        if found and not options.is_deleted:
            said = "".join(f'<option value="{escape(one)}">' for one in found[:MOST])
            tell_of_more(field, len(found), place)
            options.set_content(f'<datalist id="{listed}">{said}</datalist>')

    background_tasks.create(fill())
    return field


def tell_of_more(field: ui.input, total: int, place: "Place") -> None:
    """Say below a field that what it suggests is not all that it takes."""
    if total > MOST:
        words = "The first {few} of {all} are suggested; the others can be typed."
        field.props(remove="hide-bottom-space")
        field.props["hint"] = place.say(words, few=f"{MOST:,}", all=f"{total:,}")
    else:
        field.props.pop("hint", None)
    field.update()


def several(text: str) -> tuple[str, ...]:
    """What stands between the commas of a text; those within brackets separate nothing."""
    return tuple(part.strip() for part in re.split(r",(?![^\[]*\])", text) if part.strip())


def suggestions(kind: str, place: "Place", address: str) -> list[str]:
    """What can be named as ``layer``, ``unit`` or ``target`` of a network; nothing where it cannot be opened."""
    try:
        model = place.bench.library.model(address)
    except ConvScopeError:
        return []  # which is said where the network is used
    layers = [name for name, _ in model.module.named_modules() if name]
    classes = [str(label) for label in model.labels or ()]
    units = [*layers, *(f"{name}[0]" for name in layers)]
    return {"layer": layers, "unit": [*classes, *units], "target": classes}[kind]
