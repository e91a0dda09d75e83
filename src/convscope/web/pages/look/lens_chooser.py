"""The choice of lenses, by family, each with the question it answers."""

from collections.abc import Callable, Sequence
from functools import partial
from html import escape

from nicegui import ui

from convscope.spec import FAMILIES, LensSpec
from convscope.web.frame.page_context import PageContext
from convscope.web.page_parts.buttons import button, toggle


class LensChooser:
    """A list that opens and closes; ``on_change`` is called with the names of the chosen lenses, in order."""

    def __init__(
        self, context: PageContext, choices: Sequence[LensSpec], on_change: Callable[[list[str]], None]
    ) -> None:
        self.context, self.choices, self.on_change = context, choices, on_change
        self.names: list[str] = []
        self.families = [key for key in FAMILIES if any(spec.family == key for spec in choices)]
        self.family = self.families[0] if self.families else ""
        self._family_chips: dict[str, ui.html] = {}
        self._lens_buttons: dict[str, ui.html] = {}
        self._open = False

    def draw_button(self) -> None:
        """Add the button that opens and closes the list."""
        self._button = button(self.context.tr("Choose lenses"), self._toggle).props("aria-expanded=false")

    def draw(self) -> None:
        """Add the container of the list, which is filled when it is first opened."""
        self._box = ui.element("section").classes("box")
        self._box.set_visibility(False)

    def mark(self, names: list[str]) -> None:
        """Mark the chosen lenses; the focus stays where it is."""
        self.names = list(names)
        for name, element in self._lens_buttons.items():
            element.props(f"aria-pressed={'true' if name in names else 'false'}")
        for key, chip in self._family_chips.items():
            chip.set_content(escape(self._family_label(key)))
            chip.props(f"aria-pressed={'true' if key == self.family else 'false'}")

    def _toggle(self) -> None:
        self._open = not self._open
        self._button.props(f"aria-expanded={'true' if self._open else 'false'}")
        self._box.set_visibility(self._open)
        if self._open and not self._family_chips:
            self._build_list()

    def _build_list(self) -> None:
        tr = self.context.tr
        with self._box:
            with ui.element("div").classes("chips").props(f'role="group" aria-label="{tr("Lens families")}"'):
                self._family_chips = {
                    key: toggle(self._family_label(key), key == self.family, partial(self._pick_family, key))
                    for key in self.families
                }
            self._description = ui.label("").classes("small")
            self._list = ui.element("div").classes("lens-list")
        self._pick_family(self.family)

    def _pick_family(self, family: str) -> None:
        self.family = family
        self._description.set_text(self.context.tr(FAMILIES[family]))
        self._list.clear()
        with self._list:
            self._lens_buttons = {
                spec.command: self._lens_button(spec) for spec in self.choices if spec.family == family
            }
        self.mark(self.names)

    def _lens_button(self, spec: LensSpec) -> ui.html:
        tr = self.context.tr
        content = f"<span>{escape(tr(spec.title))}</span><small>{escape(tr(spec.asks))}</small>"
        element = ui.html(content, sanitize=False, tag="button").classes("lens-choice").props("type=button")
        element.on("click", lambda: self._toggle_lens(spec.command))
        return element

    def _toggle_lens(self, name: str) -> None:
        is_chosen = name in self.names
        self.on_change([other for other in self.names if other != name] if is_chosen else [*self.names, name])

    def _family_label(self, family: str) -> str:
        """A family's short name, and the number of its lenses that are chosen."""
        count = sum(spec.family == family and spec.command in self.names for spec in self.choices)
        name = self.context.tr(FAMILIES[family])
        for sign in (":", "：", ","):
            name = name.partition(sign)[0]
        return f"{name} {count}" if count else name
