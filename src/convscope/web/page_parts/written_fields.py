"""The fields beside a list of images: a text, the row of a table, and a choice for each of several inputs."""

from collections.abc import Callable
from functools import partial
from typing import Any

from nicegui import ui

from convscope.engine.inputs.named_inputs import NamedInputs, write_inputs
from convscope.engine.inputs.table_input import TableInput
from convscope.engine.inputs.token_input import TokenInput
from convscope.web.frame.page_context import PageContext
from convscope.web.requests.written_inputs import TEXT, fitting_key, named_keys, takes_text, text_of


class WrittenFields:
    """The fields; ``pick`` is called with the key of the input when the user changes one of them."""

    def __init__(self, context: PageContext, pick: Callable[[str], None]) -> None:
        self.context, self.library, self.pick = context, context.services.library, pick
        self._box = ui.element("div").classes("main-part written").style("gap: 8px")
        self._spec: Any = None
        self._key = ""

    def show(self, spec: Any, key: str) -> None:
        """Show the fields that an input needs, with what a key names; they stay if they show it already."""
        if spec is self._spec and key == self._key:
            return
        self._spec, self._key = spec, key
        self._box.clear()
        with self._box:
            if isinstance(spec, NamedInputs):
                keys = named_keys(key) or named_keys(fitting_key(self.library, spec, key))
                for name, own in (spec.specs or {}).items():
                    self._field(name, own, keys.get(name, ""), partial(self._pick_part, name))
            elif takes_text(spec):
                self._text_field("", spec, key, self._pick)

    def replaced(self, key: str) -> str:
        """The key of the whole input after an image was chosen from the list: of several inputs, the first it fits."""
        if not isinstance(self._spec, NamedInputs):
            return key
        kinds = {image.key: image for image in self.library.images()}
        for name, own in (self._spec.specs or {}).items():
            if not takes_text(own) and (key not in kinds or kinds[key].fits(own.kind)):
                return write_inputs({**self._keys(), name: key})
        return key

    def _keys(self) -> dict[str, str]:
        return named_keys(self._key) or named_keys(fitting_key(self.library, self._spec, self._key))

    def _pick_part(self, name: str, key: str) -> None:
        keys = self._keys()
        if keys.get(name) != key and key:
            self._pick(write_inputs({**keys, name: key}))

    def _pick(self, key: str) -> None:
        self._key = key  # the fields show it already
        self.pick(key)

    def _field(self, name: str, spec: Any, key: str, pick: Callable[[str], None]) -> None:
        if takes_text(spec):
            self._text_field(name, spec, key, pick)
            return
        choices = {image.key: image.name for image in self.library.images(spec.kind)}
        field = ui.select(
            choices, label=name, value=key if key in choices else None, on_change=lambda event: pick(event.value or "")
        )
        field.props("outlined dense options-dense stack-label").mark(f"input-{name}")

    def _text_field(self, name: str, spec: Any, key: str, pick: Callable[[str], None]) -> None:
        tr = self.context.tr
        kind = tr("numbers with commas") if isinstance(spec, TableInput) else tr("words")
        label = f"{name}{tr(': ')}{kind}" if name else tr("Or type {kind}", kind=kind)
        field = ui.input(label, value=text_of(key)).props("outlined dense stack-label").mark(f"input-{name or 'text'}")
        field.on("keydown.enter", lambda: pick(f"{TEXT}{str(field.value or '').strip()}"))
        if isinstance(spec, TableInput) and spec.names:
            ui.label(tr(", ").join(spec.names)).classes("small")
        elif isinstance(spec, TokenInput) and isinstance(spec.vocabulary, int):
            ui.label(tr("The numbers of tokens, with spaces between them.")).classes("small")
