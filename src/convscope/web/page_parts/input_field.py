"""The field of one input of a lens in a form: a choice of pictures or collections, or a text with suggestions."""

from collections.abc import Callable
from typing import Any

from nicegui import background_tasks, ui

from convscope.errors import ConvScopeError
from convscope.spec import InputKind
from convscope.web.frame.page_context import PageContext
from convscope.web.jobs.async_wait import run_in_thread
from convscope.web.page_parts.suggestions import split_names, suggestion_field
from convscope.web.page_parts.thumbnails import thumbnail_uri
from convscope.web.requests.url_state import View

OnChange = Callable[[str, Any], None]
"""Called with the name of an input and what is chosen; an empty text or tuple stands for nothing."""


def input_field(
    kind: InputKind,
    view: View,
    context: PageContext,
    on_change: OnChange,
    *,
    required: bool,
    on_error: Callable[[str], None] | None = None,
) -> None:
    """Add the field of one input, as its kind declares it; models have a field of their own on every page.

    Args:
        view: the current choice.
        required: whether something must be chosen.
        on_error: shows why the chosen picture cannot be opened; by default at the bottom of the page.
    """
    library, value = context.services.library, view.input(kind.name)
    kind_of_input = library.kind_of(view.model)
    if kind.content in ("image", "second image"):
        choices = {} if required else {"": context.tr("none")}
        choices |= {image.key: image.name for image in library.images(kind_of_input)}
        with ui.element("div").classes("with-picture"):
            if value:
                _thumbnail(value, context, on_error or context.show_error)
            _select(kind, choices, value, context, on_change)
    elif kind.content == "data set":
        _select(kind, library.collections(value, kind=kind_of_input), value, context, on_change)
    elif kind.content == "address":
        shown = ", ".join(value) if kind.several else value
        suggestion_field(kind, shown, context, view.model, lambda text: on_change(kind.name, _written(kind, text)))
        if kind.hint:
            ui.label(context.tr(kind.hint)).classes("small")


def _written(kind: InputKind, text: str) -> str | tuple[str, ...]:
    return split_names(text) if kind.several else text.strip()


def _select(kind: InputKind, choices: dict[str, str], value: str, context: PageContext, on_change: OnChange) -> None:
    field = ui.select(
        choices,
        label=context.tr(kind.label),
        value=value if value in choices else None,
        on_change=lambda event: on_change(kind.name, event.value or ""),
    )
    field.props("outlined dense stack-label options-dense hide-bottom-space").mark(kind.name)


def _thumbnail(key: str, context: PageContext, on_error: Callable[[str], None]) -> None:
    """Add a thumbnail of the chosen picture beside its field; it is loaded in the background."""
    element = ui.html("", sanitize=False).classes("beside")

    async def fill() -> None:
        try:
            source = await run_in_thread(thumbnail_uri, context.services.library, key)
        except ConvScopeError as error:
            on_error(str(error))
            return
        if not element.is_deleted:
            element.set_content(f'<img src="{source}" alt="">')

    background_tasks.create(fill())
