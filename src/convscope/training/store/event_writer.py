"""Writes an event file that TensorBoard opens, through tensorboardX's messages and records.

Tags are written as they are, with Unicode and spaces; tensorboardX's own ``SummaryWriter`` would replace these.
"""

import itertools
import os
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from convscope.errors import CannotWrite, MissingExtra
from convscope.training.store.extra import messages

FLUSH_SECONDS = 5.0
"""What was written longer ago is on the disk; a process that is killed loses at most so many seconds of its log."""

_numbers = itertools.count(1)


class EventWriter:
    """One new event file in a folder.

    Attributes:
        name: the end of the name of the file, which no other writer has.

    Raises:
        CannotWrite: the folder cannot be made or written to.
        MissingExtra: tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX.event_file_writer import EventsWriter
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "tensorboardX", "training") from error
        self.folder, self.name = folder, secrets.token_hex(4)
        self._messages = messages()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Its own suffix is the second of the start, which two writers of one folder may share.
            self._file = EventsWriter(str(folder / "events"), f".{os.getpid()}.{next(_numbers)}.{self.name}")
        except OSError as error:
            raise CannotWrite(f"cannot write to the folder {str(folder)!r}: {error.strerror or error}") from error
        self._values: list[Any] = []
        self._flushed = time.monotonic()

    def scalar(self, tag: str, number: float) -> None:
        """Add a number to the event that `write` will write."""
        self._values.append(self._messages.Summary.Value(tag=tag, simple_value=number))

    def histogram(
        self, tag: str, edges: Sequence[float], counts: Sequence[float], total: float, squares: float
    ) -> None:
        """Add counts between edges (one more than counts); the sums of the numbers and of their squares beside them."""
        histogram = self._histogram_message(edges, counts, total, squares)
        self._values.append(self._messages.Summary.Value(tag=tag, histo=histogram))

    def picture(self, tag: str, png: bytes, width: int, height: int, channels: int) -> None:
        """Add a picture."""
        image = self._messages.Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=png)
        self._values.append(self._messages.Summary.Value(tag=tag, image=image))

    def text(self, tag: str, text: str) -> None:
        """Add a text in Markdown."""
        value = self._messages.Summary.Value(tag=f"{tag}/text_summary")
        value.metadata.plugin_data.plugin_name = "text"
        value.tensor.dtype = 7
        value.tensor.string_val.append(text.encode())
        value.tensor.tensor_shape.dim.add().size = 1
        self._values.append(value)

    def graph(self, layers: Iterable[tuple[str, str, Sequence[str], Sequence[int]]], wall_time: float) -> None:
        """Write the graph of a network: layers with their class, the layers before them, the shape of their output.

        TensorBoard groups nodes by slashes: ``block.conv`` is written ``block/conv``.
        """
        graph = self._messages.GraphDef()
        for layer, kind, inputs, shape in layers:
            names = [name.replace(".", "/") for name in inputs]
            node = graph.node.add(name=layer.replace(".", "/"), op=kind, input=names)
            dimensions = node.attr["_output_shapes"].list.shape.add().dim
            for size in shape:
                dimensions.add().size = size
        self._file.write_event(self._messages.Event(wall_time=wall_time, graph_def=graph.SerializeToString()))

    def write(self, step: int, wall_time: float) -> None:
        """Write everything that was added as the event of a step."""
        if not self._values:
            return
        event = self._messages.Event(wall_time=wall_time, step=step)
        event.summary.value.extend(self._values)
        self._values.clear()
        self._file.write_event(event)
        if self.flush_is_due:
            self.flush()

    @property
    def flush_is_due(self) -> bool:
        """Whether `FLUSH_SECONDS` have passed since what was written was put on the disk."""
        return time.monotonic() - self._flushed >= FLUSH_SECONDS

    def flush(self) -> None:
        """Hand everything that was written to the operating system."""
        self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write the rest, and close the file."""
        self._file.close()

    def abandon(self) -> None:
        """Close the file after a write has failed; what can still be written of the rest is."""
        with suppress(OSError):  # the failure is known, and closing it meets the same again
            self._file.close()

    def _histogram_message(self, edges: Sequence[float], counts: Sequence[float], total: float, squares: float) -> Any:
        message = self._messages.Summary(value=[{}]).value[0].histo
        message.min, message.max, message.num = edges[0], edges[-1], float(np.sum(counts))
        message.sum, message.sum_squares = total, squares
        message.bucket_limit.extend(edges[1:])
        message.bucket.extend(counts)
        return message
