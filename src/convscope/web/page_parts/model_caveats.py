"""Warnings that apply to everything shown of a network, such as random weights, with the network's name."""

from collections.abc import Iterable

from nicegui import background_tasks, ui

from convscope.errors import ConvScopeError
from convscope.render.captions import sentence
from convscope.web.frame.page_context import PageContext
from convscope.web.jobs.async_wait import run_in_thread


class Caveats:
    """The caveats of the networks on a page, placed where this is constructed."""

    def __init__(self, context: PageContext) -> None:
        self.context = context
        self._addresses: tuple[str, ...] = ()
        self._box = ui.element("div").classes("main-part").style("gap: 4px; margin-bottom: 12px").mark("caveats")
        self._box.set_visibility(False)

    def show(self, addresses: Iterable[str]) -> None:
        """Show the caveats of these networks; those that cannot be opened are reported elsewhere."""
        unique = tuple(dict.fromkeys(addresses))
        if unique != self._addresses:
            self._addresses = unique
            background_tasks.create(self._fill(unique))

    async def _fill(self, addresses: tuple[str, ...]) -> None:
        library, lines = self.context.services.library, []
        for requested in addresses:
            try:
                address = library.address(requested)
                model = await run_in_thread(library.model, address)
            except (ConvScopeError, OSError):
                continue
            name = library.names(address)[address]
            lines += [f"{name} · {self.context.tr(sentence(caveat))}" for caveat in model.caveats]
        if self._addresses != addresses or self._box.is_deleted:
            return
        self._box.clear()
        self._box.set_visibility(bool(lines))
        with self._box:
            for line in lines:
                ui.label(line).classes("warning").props('role="note"')
