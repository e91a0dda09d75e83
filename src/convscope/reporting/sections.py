"""The parts of a report: for every image and network, the values, and the lenses that did not work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from convscope.values import Value


@dataclass(frozen=True)
class Section:
    """One image and one network.

    Args:
        values: the values of the lenses, in any order.
        refused: for each lens that does not work on this network, the reason.
        title: the heading; the image's name by default.
    """

    values: Sequence[Value]
    refused: Mapping[str, str] = field(default_factory=dict)
    title: str = ""


def as_section(values: Section | Sequence[Value]) -> Section:
    """A plain list of values as a section."""
    return values if isinstance(values, Section) else Section(tuple(values))
