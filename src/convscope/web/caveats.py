"""What must be known of a network whatever is shown of it, such as that its weights are random: said by its name."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nicegui import background_tasks, ui

from convscope.errors import ConvScopeError
from convscope.render.captions import sentence
from convscope.web.jobs.waiting import aside

if TYPE_CHECKING:
    from convscope.web.page_layout import Place


class Caveats:
    """The caveats of the networks that a page shows, drawn where this is made."""

    def __init__(self, place: "Place") -> None:
        self.place = place
        self._addresses: tuple[str, ...] = ()
        self._box = ui.element("div").classes("main-part").style("gap: 4px; margin-bottom: 12px").mark("caveats")
        self._box.set_visibility(False)

    def show(self, addresses: Iterable[str]) -> None:
        """Say what must be known of these networks; of those that cannot be opened something else says why."""
        given = tuple(dict.fromkeys(addresses))
        if given != self._addresses:
            self._addresses = given
            background_tasks.create(self._fill(given))

    async def _fill(self, addresses: tuple[str, ...]) -> None:
        library, lines = self.place.bench.library, []
        for given in addresses:
            try:
                address = library.address(given)
                model = await aside(library.model, address)
            except (ConvScopeError, OSError):
                continue
            name = library.names(address)[address]
            lines += [f"{name} · {self.place.say(sentence(caveat))}" for caveat in model.caveats]
        if self._addresses != addresses or self._box.is_deleted:
            return
        self._box.clear()
        self._box.set_visibility(bool(lines))
        with self._box:
            for line in lines:
                ui.label(line).classes("warning").props('role="note"')
