"""What a link carries: enough to see the same thing again, in another tab or on another day."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

SEVERAL = ("layer", "unit", "beside", "pinned")
"""What may be named more than once."""


@dataclass(frozen=True)
class View:
    """Which lens looks at what, with which parameters; whatever is empty takes its default.

    Attributes:
        model: the model's address, as the library lists it.
        image, style, guide: keys of images in the library; ``images`` the key of a collection.
        beside: further models and keys of further images, to be seen beside the first.
        pinned: further views, as their queries, to be kept in sight.
        tab, page: which tab of a page is open, and which page of its tiles, counted from 1.
        parameters: the lens's own, as texts or plain values.
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
        """The view as the part of a link behind the question mark; own parameters are written ``p.NAME``."""
        pairs = []
        for one in fields(self):
            found = getattr(self, one.name)
            if one.name == "parameters":
                pairs += [(f"p.{name}", _written(value)) for name, value in sorted(found.items())]
            elif one.name in SEVERAL:
                pairs += [(one.name, each) for each in found]
            elif found:
                pairs.append((one.name, found))
        return urlencode(pairs)

    @classmethod
    def read(cls, query: str) -> Self:
        """The view that a link carries; what it does not know, it leaves out."""
        known = {one.name for one in fields(cls)} - {"parameters"}
        found: dict[str, Any] = {"parameters": {}}
        for name, value in parse_qsl(query):
            if name.startswith("p."):
                found["parameters"][name.removeprefix("p.")] = value
            elif name in SEVERAL:
                found[name] = (*found.get(name, ()), value)
            elif name in known:
                found[name] = value
        return cls(**found)

    def but(self, **changes: Any) -> Self:
        """The same view with some of it changed."""
        return replace(self, **changes)


def _written(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
