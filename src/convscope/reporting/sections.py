"""What a report is made of: for every image under every network, the values and the lenses that could not serve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from convscope.values import Value


@dataclass(frozen=True)
class Section:
    """One image under one network.

    Args:
        values: what the lenses gave: a prediction, attributions, in any order.
        refused: for each lens that cannot serve this network, the sentence that says why.
        title: the heading; the image's name by default.
    """

    values: Sequence[Value]
    refused: Mapping[str, str] = field(default_factory=dict)
    title: str = ""


def as_section(given: Section | Sequence[Value]) -> Section:
    """A plain list of values as a section."""
    return given if isinstance(given, Section) else Section(tuple(given))
