"""The state that a link carries: enough to show the same thing again, in another tab or on another day."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from convscope.spec import INPUT_KINDS

REPEATED = (*(kind.name for kind in INPUT_KINDS.values() if kind.several), "beside", "pinned")
"""The URL parameters that may occur more than once."""


@dataclass(frozen=True)
class View:
    """A lens with its inputs and parameters; empty fields take their defaults.

    Attributes:
        model: the model's address, as the library lists it.
        image, style, guide: keys of images in the library; ``images`` the key of a collection.
        beside: further models and keys of further images to compare with the first.
        pinned: further views, as their queries, that stay on the page.
        tab, page: which tab of a page is open, and which page of its tiles, counted from 1.
        parameters: the lens's own parameters, as texts or plain values.
    """

    lens: str = ""
    model: str = ""
    image: str = ""
    images: str = ""
    style: str = ""
    guide: str = ""
    target: str = ""
    layer: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()
    tab: str = ""
    page: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def query(self) -> str:
        """The view as the query string of a link; parameters of the lens are written ``p.NAME``."""
        pairs = []
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name == "parameters":
                pairs += [(f"p.{name}", _to_text(parameter)) for name, parameter in sorted(value.items())]
            elif entry.name in REPEATED:
                pairs += [(entry.name, item) for item in value]
            elif value:
                pairs.append((entry.name, value))
        return urlencode(pairs)

    @classmethod
    def parse(cls, query: str) -> Self:
        """The view of a query string; unknown names are ignored."""
        known = {entry.name for entry in fields(cls)} - {"parameters"}
        values: dict[str, Any] = {"parameters": {}}
        for name, value in parse_qsl(query):
            if name.startswith("p."):
                values["parameters"][name.removeprefix("p.")] = value
            elif name in REPEATED:
                values[name] = (*values.get(name, ()), value)
            elif name in known:
                values[name] = value
        return cls(**values)

    def replace(self, **changes: Any) -> Self:
        """The same view with some fields changed."""
        return replace(self, **changes)


def _to_text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
