"""What is selected on the page Inside: the model, the image, a layer and one of its units."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from convscope.engine.layers.addresses import parse_unit
from convscope.errors import ConvScopeError
from convscope.spec import INPUT_KINDS
from convscope.values import Structure, Value
from convscope.values.input_kinds import adapt_wording
from convscope.web.frame.page_context import PageContext
from convscope.web.pages.inside.network_graph import GraphView
from convscope.web.requests.url_state import View


@dataclass(frozen=True)
class UnitName:
    """A unit of a layer, or one position of its map, written as ``layer2[5]`` or ``layer2[5, 3, 3]``."""

    layer: str
    number: int
    position: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The unit of an address; None if the address is not that of a unit."""
        address = parse_unit(text.strip())
        if address is None or address.unit is None or not address.layer:
            return None
        return cls(address.layer, address.unit, address.position)

    @property
    def channel(self) -> "UnitName":
        """The unit without a position."""
        return replace(self, position=())

    def __str__(self) -> str:
        return f"{self.layer}[{', '.join(map(str, (self.number, *self.position)))}]"


class Navigator(Protocol):
    """Shows another layer or unit on the page."""

    async def show_layer(self, address: str) -> None:
        """Select a layer."""

    async def show_unit(self, unit: UnitName) -> None:
        """Select a unit, or one position of its map."""


class Selection:
    """The selection, which all parts of the page share, and the lenses that are run for it.

    Attributes:
        view: the selection as the link carries it.
        structure: the network's structure, once it is computed.
        graph: the graph as it is drawn, once the structure is known.
    """

    def __init__(self, context: PageContext, view: View) -> None:
        self.context, self.library = context, context.services.library
        self.view = view
        self.structure: Structure | None = None
        self.graph: GraphView | None = None

    @property
    def layer(self) -> str:
        """The address of the selected layer; empty if there is none."""
        return self.view.layer[0] if self.view.layer else ""

    @property
    def unit(self) -> UnitName | None:
        """The selected unit."""
        return UnitName.parse(self.view.unit[0]) if self.view.unit else None

    @property
    def is_closed(self) -> bool:
        """Whether the browser tab is closed."""
        return bool(self.context.client.is_deleted)

    def tr(self, english: str, **values: object) -> str:
        """A text in the user's language, in the terms of what the network takes: images, signals, volumes."""
        return adapt_wording(self.context.tr(english, **values), self.library.kind_of(self.view.model))

    def update(self, **changes: Any) -> None:
        """Change the selection and the link."""
        self.view = self.view.replace(**changes)
        self.context.update_url(self.view)

    async def run(self, lens: str, **parameters: Any) -> Value | str:
        """The value of a lens for the selected model and image, or the error message."""
        try:
            return await self.context.run(self.lens_view(lens, **parameters))
        except (ConvScopeError, OSError) as error:
            return str(error)

    def lens_view(self, lens: str, **parameters: Any) -> View:
        """The view of a lens for the selected model and image; inputs in ``parameters`` replace the selected ones."""
        inputs = {name: parameters.pop(name) for name in INPUT_KINDS if name in parameters}
        return View(lens=lens, model=self.view.model, parameters=parameters, **{"image": self.view.image, **inputs})

    def link_parameters(self, lens: str) -> Mapping[str, Any]:
        """The parameters that the link has for a lens."""
        return self.view.parameters if lens == self.view.lens else {}
