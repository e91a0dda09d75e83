"""Lenses to choose from, by family, each with the question it asks."""

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING

from nicegui import ui

from convscope.spec import FAMILIES, LensSpec
from convscope.web.buttons import button, toggle

if TYPE_CHECKING:
    from convscope.web.page_layout import Place


class Chooser:
    """A list that opens and closes; ``choose`` is told of the names that are chosen now, in their order."""

    def __init__(self, place: "Place", choices: Sequence[LensSpec], choose: Callable[[list[str]], None]) -> None:
        self.place, self.choices, self.choose = place, choices, choose
        self.names: list[str] = []
        self.families = [key for key in FAMILIES if any(spec.family == key for spec in choices)]
        self.family = self.families[0] if self.families else ""
        self._chips: dict[str, ui.html] = {}
        self._lenses: dict[str, ui.html] = {}
        self._open = False

    def draw_button(self) -> None:
        """The button that opens and closes the list."""
        self._button = button(self.place.say("Choose lenses"), self._toggle).props("aria-expanded=false")

    def draw(self) -> None:
        """The place of the list; it is filled when it is opened."""
        self._box = ui.element("section").classes("box")
        self._box.set_visibility(False)

    def mark(self, names: list[str]) -> None:
        """Show which lenses are chosen; the focus stays where it is."""
        self.names = list(names)
        for name, made in self._lenses.items():
            made.props(f"aria-pressed={'true' if name in names else 'false'}")
        for key, chip in self._chips.items():
            chip.set_content(escape(self._counted(key)))
            chip.props(f"aria-pressed={'true' if key == self.family else 'false'}")

    def _toggle(self) -> None:
        self._open = not self._open
        self._button.props(f"aria-expanded={'true' if self._open else 'false'}")
        self._box.set_visibility(self._open)
        if self._open and not self._chips:
            self._fill()

    def _fill(self) -> None:
        say = self.place.say
        with self._box:
            with ui.element("div").classes("chips").props(f'role="group" aria-label="{say("Families of lenses")}"'):
                self._chips = {
                    key: toggle(self._counted(key), key == self.family, partial(self._pick, key))
                    for key in self.families
                }
            self._says = ui.label("").classes("small")
            self._list = ui.element("div").classes("lens-list")
        self._pick(self.family)

    def _pick(self, family: str) -> None:
        self.family = family
        self._says.set_text(self.place.say(FAMILIES[family]))
        self._list.clear()
        with self._list:
            self._lenses = {one.command: self._lens(one) for one in self.choices if one.family == family}
        self.mark(self.names)

    def _lens(self, spec: LensSpec) -> ui.html:
        say = self.place.say
        inner = f"<span>{escape(say(spec.title))}</span><small>{escape(say(spec.asks))}</small>"
        made = ui.html(inner, sanitize=False, tag="button").classes("lens-choice").props("type=button")
        made.on("click", lambda: self._flip(spec.command))
        return made

    def _flip(self, name: str) -> None:
        there = name in self.names
        self.choose([one for one in self.names if one != name] if there else [*self.names, name])

    def _counted(self, family: str) -> str:
        """A family's name without what it explains, and how many of its lenses are chosen."""
        count = sum(spec.family == family and spec.command in self.names for spec in self.choices)
        name = self.place.say(FAMILIES[family])
        for sign in (":", "：", ","):
            name = name.partition(sign)[0]
        return f"{name} {count}" if count else name
