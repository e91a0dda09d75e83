"""An input as its file holds it: numbers with named axes, which no network has prepared yet."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import InputError

Numbers = NDArray[np.float32]

MAX_VALUES = 2**31
"""An input with more numbers than this is refused before it is read: 8 GiB in single precision."""
_LIMIT: ContextVar[int] = ContextVar("limit", default=MAX_VALUES)
_PLAN: ContextVar[Callable[[tuple[int, ...]], None] | None] = ContextVar("plan", default=None)


@dataclass(frozen=True, eq=False)
class RawInput:
    """The content of an input file.

    Attributes:
        values: float32 (channels, …). Where ``axes`` is empty the file does not name its axes, and ``values`` has them
            as the file does.
        axes: the name of each axis after the channels: ``time``, ``height``, ``width``, or ``x``, ``y``, ``z``.
        spacing: the distance between neighbors along each axis, in ``unit``; empty if the file does not say.
        unit: ``s`` for signals, ``mm`` for volumes.
        affine: for volumes, the 4 × 4 matrix from the index of a voxel to its position in millimeters, in the
            coordinates of NIfTI (right, anterior, superior).
        channel_names: the name of each channel, if the file has them.
        words: of a sequence of tokens, their texts, if known.
        title: what was read, for messages.
        remark: what is to be said about the file, such as that it names no position in space.
    """

    values: Numbers
    axes: tuple[str, ...] = ()
    spacing: tuple[float, ...] = ()
    unit: str = ""
    affine: NDArray[np.float64] | None = None
    channel_names: tuple[str, ...] = ()
    title: str = "the input"
    words: tuple[str, ...] = ()
    remark: str = ""

    def arranged(self, channels: int | None, axes: tuple[str, ...]) -> "RawInput":
        """The same numbers as (channels, …), where the file does not name its axes.

        Args:
            channels: the number of channels of the network, by which the axis of the channels is found; None takes the
                first axis.
            axes: the names of the other axes.

        Raises:
            InputError: the number of axes does not fit, or no axis has that many channels.
        """
        if self.axes:
            if len(self.axes) != len(axes):
                raise InputError(f"{self.title} has the axes {_names(self.axes)}, this network takes {_names(axes)}")
            return self
        values = self.values
        if values.ndim == len(axes):
            values = values[None]
        elif values.ndim != len(axes) + 1:
            raise InputError(
                f"{self.title} has the shape {values.shape}, this network takes (channels, {', '.join(axes)})"
            )
        elif channels is not None and values.shape[0] != channels and values.shape[-1] == channels:
            values = np.moveaxis(values, -1, 0)
        return RawInput(np.ascontiguousarray(values), axes, title=self.title)


def as_numbers(array: Any, title: str) -> Numbers:
    """An array as float32.

    Raises:
        InputError: it holds no numbers, none at all, or too many.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{title} holds {array.dtype}, not numbers")
    if array.ndim == 0 or array.size == 0:
        raise InputError(f"{title} has the shape {array.shape}: there are no numbers in it")
    check_count(array.shape, title)
    numbers: Numbers = array.astype(np.float32)
    return numbers


def check_count(shape: tuple[int, ...], title: str) -> None:
    """Refuse an input with more numbers than fit into memory safely.

    Raises:
        InputError: it has more than `MAX_VALUES` numbers, or than a smaller limit allows.
    """
    count = math.prod(int(size) for size in shape)
    if count > _LIMIT.get():
        raise InputError(
            f"{title} has {count:,} numbers ({4 * count / 2**30:.0f} GiB in single precision): crop or shrink it first"
        )
    if (plan := _PLAN.get()) is not None:
        plan(tuple(int(size) for size in shape))


@contextmanager
def planned_by(plan: Callable[[tuple[int, ...]], None]) -> Iterator[None]:
    """Call ``plan`` with the shape in the header of each file, before its numbers are read; it may refuse it."""
    token = _PLAN.set(plan)
    try:
        yield
    finally:
        _PLAN.reset(token)


@contextmanager
def limited_to(count: int) -> Iterator[None]:
    """Refuse inputs with more numbers than this, for files of strangers."""
    token = _LIMIT.set(count)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def _names(axes: tuple[str, ...]) -> str:
    return ", ".join(axes)
