"""Text fields with suggestions: the layers, units or classes of a network.

A network may take seconds to load, so the suggestions are added after the field.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from html import escape

from nicegui import background_tasks, ui

from convscope.errors import ConvScopeError
from convscope.spec import InputKind
from convscope.web.frame.page_context import PageContext
from convscope.web.jobs.async_wait import run_in_thread

MAX_SUGGESTIONS = 2000
"""Suggestions of a field, at most; a hint mentions further ones."""
_NUMBERS = itertools.count(1)


def suggestion_field(
    kind: InputKind, value: str, context: PageContext, model: str, on_change: Callable[[str], None]
) -> ui.input:
    """A text field with suggestions from a network.

    Args:
        kind: the input that is typed.
        model: the address of the network.
        on_change: called with the text once typing pauses.
    """
    list_id = f"{kind.name}s-{next(_NUMBERS)}"
    field = ui.input(context.tr(kind.label), value=value, on_change=lambda event: on_change(event.value or ""))
    field.props(f'outlined dense debounce=350 stack-label hide-bottom-space clearable list="{list_id}"').mark(kind.name)
    options = ui.html("", sanitize=False).style("display: none")  # the browser shows the list in the field only

    async def fill() -> None:
        names = await run_in_thread(suggestions, kind.suggests, context, model)
        if names and not options.is_deleted:
            options_html = "".join(f'<option value="{escape(name)}">' for name in names[:MAX_SUGGESTIONS])
            mention_more(field, len(names), context)
            options.set_content(f'<datalist id="{list_id}">{options_html}</datalist>')

    background_tasks.create(fill())
    return field


def mention_more(field: ui.input, total: int, context: PageContext) -> None:
    """Add a hint below a field that its suggestions are not complete."""
    if total > MAX_SUGGESTIONS:
        words = "The first {few} of {all} are suggested; the others can be typed."
        field.props(remove="hide-bottom-space")
        field.props["hint"] = context.tr(words, few=f"{MAX_SUGGESTIONS:,}", all=f"{total:,}")
    else:
        field.props.pop("hint", None)
    field.update()


def split_names(text: str) -> tuple[str, ...]:
    """The parts of a text between commas; commas in brackets do not separate."""
    return tuple(part.strip() for part in re.split(r",(?![^\[]*\])", text) if part.strip())


def suggestions(wanted: Sequence[str], context: PageContext, address: str) -> list[str]:
    """The names of classes, layers and units of a network, those that are wanted; empty if it cannot be loaded."""
    if not wanted:
        return []
    try:
        model = context.services.library.model(address)
    except ConvScopeError:
        return []  # the error is shown where the network is used
    layers = [name for name, _ in model.module.named_modules() if name]
    classes = [str(label) for label in model.labels or ()]
    names = {"classes": classes, "layers": layers, "units": [f"{name}[0]" for name in layers]}
    return [name for kind in wanted for name in names[kind]]
