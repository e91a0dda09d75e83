"""The cards of the chosen lenses: their order, their shared scale, and what concerns more than one of them."""

from typing import Any, Protocol

from nicegui import background_tasks, ui

from convscope.catalogue import find
from convscope.render.joint_attribution import shared_limit
from convscope.spec import LensSpec
from convscope.values import Attribution, JointAttribution, Value
from convscope.web.frame.page_context import PageContext
from convscope.web.pages.look.card import Card, CardHost
from convscope.web.requests.url_state import View


class GalleryPage(Protocol):
    """What the gallery needs from its page."""

    def lens_view(self, spec: LensSpec) -> View:
        """The view of a lens with the current inputs."""

    view: View
    """The current choice."""

    def set_input(self, name: str, value: Any) -> None:
        """The user chose another input that only some lenses have."""

    def lens_parameters(self, lens: str) -> dict[str, Any]:
        """The parameters that the link has for a lens."""

    def choose(self, names: list[str]) -> None:
        """The user changed which lenses are shown."""

    def set_lens_parameters(self, lens: str, parameters: dict[str, Any]) -> None:
        """The user changed the parameters of a lens."""

    def pin_map(self, view: View, value: Attribution | JointAttribution) -> None:
        """The user pinned a map."""


class CardGallery(CardHost):
    """One card for each chosen lens, placed where this is constructed.

    Args:
        choices: the lenses that can be swapped in.
        one_scale: whether all maps share one scale.
    """

    def __init__(self, context: PageContext, page: GalleryPage, choices: list[LensSpec], *, one_scale: bool) -> None:
        self.context, self.page, self.choices, self.one_scale = context, page, choices, one_scale
        self.cards: list[Card] = []
        self._box = ui.element("section").classes("gallery")

    @property
    def names(self) -> list[str]:
        """The lenses of the cards, in order."""
        return [card.spec.command for card in self.cards]

    def lay_out(self, names: list[str]) -> None:
        """Show one card for each lens, in this order; existing cards are kept."""
        if self.cards and self.names == names:
            return
        existing = {card.spec.command: card for card in self.cards}
        for name, card in existing.items():
            if name not in names:
                card.close()
        if not existing:
            self._box.clear()
        self.cards = []
        for index, name in enumerate(names):
            card = existing.get(name) or self._add_card(name)
            card.box.move(self._box, index)
            self.cards.append(card)
        if not self.cards:
            self._show_placeholder(self.context.tr("No lens yet"), "", self.context.tr("Choose lenses above."))

    def run(self, *, except_for: frozenset[str] = frozenset()) -> None:
        """Run the lenses of all cards with the current inputs."""
        for card in self.cards:
            if card.spec.command not in except_for:
                card.run(self.page.lens_view(card.spec))

    def mark_outdated(self) -> None:
        """Mark the values of all cards as belonging to an earlier choice."""
        for card in self.cards:
            card.mark_outdated()

    def show_no_image(self, error: str) -> None:
        """Remove all cards and ask for an image.

        Args:
            error: why the image of the link cannot be used; empty if there is none.
        """
        for card in self.cards:
            card.close()
        self.cards = []
        hint = self.context.tr("Choose an image on the left, or drop one there. Its prediction is explained here.")
        self._show_placeholder(self.context.tr("No image yet"), error, hint)

    def set_one_scale(self, one_scale: bool) -> None:
        """Draw all maps on one scale, or each on its own."""
        self.one_scale = one_scale
        background_tasks.create(self._rescale())

    @property
    def values(self) -> list[Value]:
        """The values of all cards that are up to date."""
        return [card.value for card in self.cards if not card.pending and card.value is not None]

    @property
    def errors(self) -> dict[str, Any]:
        """The errors of cards, by the title of the lens."""
        return {card.spec.title: card.error for card in self.cards if card.error}

    def _add_card(self, name: str) -> Card:
        with self._box:
            return Card(find(name), self.page.lens_parameters(name), self.context, self)

    def _show_placeholder(self, title: str, error: str, hint: str) -> None:
        self._box.clear()
        with self._box, ui.element("div").classes("empty").style("grid-column: 1 / -1"):
            ui.label(title).classes("label")
            if error:
                ui.label(error).classes("warning")
            ui.label(hint)

    async def _rescale(self) -> None:
        """Redraw all maps on one scale, signed and unsigned maps apart; or each on its own scale."""
        for signed in (True, False):
            group = [(card, value) for card in self.cards if (value := _map_of(card)) and value.signed == signed]
            shared = self.one_scale and group
            limit = shared_limit([value for _, value in group]) if shared else None
            for card, _ in group:
                if card.limit != limit:
                    card.limit = limit
                    await card.show()

    # -- the host of the cards ----------------------------------------------------------------------------------

    def on_result(self, card: Card) -> None:
        """A card has a new value, which may change the shared scale."""
        if self.one_scale:
            background_tasks.create(self._rescale())

    def on_parameters_changed(self, card: Card) -> None:
        """Update the link and run the lens again."""
        self.page.set_lens_parameters(card.spec.command, card.parameters)
        card.run(self.page.lens_view(card.spec))

    @property
    def view(self) -> View:  # type: ignore[override]
        """The current choice of the page."""
        return self.page.view

    def set_input(self, name: str, value: Any) -> None:
        """Use another input in all lenses that have it."""
        self.page.set_input(name, value)

    def swap(self, card: Card, lens: str) -> None:
        """Show another lens in place of a card; if it has a card already, the two change places."""
        old = card.spec.command
        if lens != old:
            exchange = {old: lens, lens: old}
            self.page.choose([exchange.get(name, name) for name in self.names])
            if card in self.cards:  # it stays, at another position
                card.lens_select.value = old

    def remove(self, card: Card) -> None:
        """Remove a card."""
        self.page.choose([name for name in self.names if name != card.spec.command])

    def pin(self, card: Card) -> None:
        """Keep the map of a card on the page."""
        if isinstance(card.value, (Attribution, JointAttribution)) and not card.pending:
            self.page.pin_map(card.shown_view, card.value)

    def suggest_alternatives(self, card: Card) -> None:
        """Suggest lenses that fit the network if the card's lens does not."""
        background_tasks.create(self._suggest_alternatives(card))

    async def _suggest_alternatives(self, card: Card) -> None:
        view = self.page.lens_view(card.spec)
        candidates = [
            spec for spec in self.choices if not (view.layer and spec.takes_layer)
        ]  # the layer may be at fault
        shown = self.names
        lenses = await self.context.fitting_lenses(view, [s.command for s in candidates if s.command not in shown])
        others_work = any(other.value is not None for other in self.cards)  # so the lens is at fault, not the inputs
        if card.error and card in self.cards and others_work and lenses and not self.context.client.is_deleted:
            card.show_alternatives(lenses)


def _map_of(card: Card) -> Attribution | JointAttribution | None:
    """The map of a card, or those of several inputs in one unit; None where it shows nothing that a scale fits."""
    value = card.value
    if isinstance(value, JointAttribution):
        return value if value.one_scale else None
    return value if isinstance(value, Attribution) else None
