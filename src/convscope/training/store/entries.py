"""From an event to what it says: scalars with their numbers, and where histograms, pictures and texts stand in it.

TensorBoard has two spellings. The first has a field for each kind (``simple_value``, ``histo``, ``image``). The second,
which TensorFlow 2 and Keras write, puts everything into ``tensor``, and the kind into the metadata of the first event
of a tag only; so the kind of each tag is kept.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from convscope.training.store.tensors import to_array, to_texts

Kind = Literal["scalar", "histogram", "image", "text", "other"]

_PLUGINS: dict[str, Kind] = {
    "scalars": "scalar",
    "histograms": "histogram",
    "images": "image",
    "text": "text",
}
_FIELDS: dict[str, Kind] = {"simple_value": "scalar", "histo": "histogram", "image": "image"}


class Entry(NamedTuple):
    """One value of one tag: the number of a scalar; of other kinds its place within the event."""

    tag: str
    kind: Kind
    number: float
    place: int


class Histogram(NamedTuple):
    """Counts between edges: ``edges`` has one number more than ``counts``."""

    edges: "np.ndarray[Any, np.dtype[np.float64]]"
    counts: "np.ndarray[Any, np.dtype[np.float64]]"


def entries_of(event: Any, kinds: dict[str, Kind]) -> Iterator[Entry]:
    """The entries of an event.

    Args:
        kinds: the kinds of tags whose values stand in ``tensor``; tags of this event are added.
    """
    for index, value in enumerate(event.summary.value):
        field = value.WhichOneof("value")
        if field == "simple_value":
            yield Entry(_tag_of(value, "scalar"), "scalar", value.simple_value, index)
        elif field == "tensor":
            yield from _tensor_entry(value, index, kinds)
        elif field is not None:
            yield Entry(_tag_of(value, ""), _FIELDS.get(field, "other"), 0.0, index)


def _tensor_entry(value: Any, index: int, kinds: dict[str, Kind]) -> Iterator[Entry]:
    plugin = value.metadata.plugin_data.plugin_name
    if plugin or value.tag not in kinds:
        kinds[value.tag] = _PLUGINS.get(plugin, "other")
    kind = kinds[value.tag]
    if kind != "scalar":
        yield Entry(_tag_of(value, plugin), kind, 0.0, index)
        return
    array = to_array(value.tensor)
    if array is not None and array.size == 1:
        yield Entry(value.tag, "scalar", float(array.reshape(-1)[0]), index)


def _tag_of(value: Any, plugin: str) -> str:
    """The tag, without the ``/text_summary`` that PyTorch appends to that of a text."""
    return re.sub(r"/text_summary$", "", value.tag) if plugin == "text" else str(value.tag)


def histogram_of(value: Any) -> Histogram | None:
    """The histogram of a summary value; None if its numbers are no histogram."""
    if value.WhichOneof("value") == "histo":
        limits, counts = (np.array(v, np.float64) for v in (value.histo.bucket_limit, value.histo.bucket))
        if not len(limits) or len(limits) != len(counts):
            return None
        edges = np.concatenate([[min(value.histo.min, limits[0])], limits])
        edges[-1] = max(min(edges[-1], value.histo.max), edges[-2])  # the last limit is often the largest float
        return Histogram(edges, counts)
    table = to_array(value.tensor)
    if table is None or table.ndim != 2 or table.shape[1] != 3 or not len(table):
        return None
    return Histogram(np.append(table[:, 0], table[-1, 1]).astype(np.float64), table[:, 2].astype(np.float64))


def pictures_of(value: Any) -> list[bytes]:
    """The encoded pictures of a summary value: of the second spelling, width and height come first."""
    return [value.image.encoded_image_string] if value.WhichOneof("value") == "image" else to_texts(value.tensor)[2:]


def texts_of(value: Any) -> list[str]:
    """The texts of a summary value."""
    return [text.decode("utf-8", "replace") for text in to_texts(value.tensor)]
