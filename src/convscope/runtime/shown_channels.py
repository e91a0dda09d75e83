"""Which channels of an input people see in its picture, where it has more of them than a picture has colours."""

from collections.abc import Sequence
from dataclasses import replace

from convscope.runtime.arguments import Arguments
from convscope.values import Exemplars, Pictures, Value

NOTE = "the input is drawn as"


def with_drawn_channels(value: Value, asked: Arguments) -> Value:
    """The value with a note on the channels that its picture shows, where these are not all."""
    said = channels_drawn(_shape(value, asked))
    return replace(value, notes={**value.notes, NOTE: said}) if said else value


def channels_drawn(shape: Sequence[int]) -> str:
    """Which channels of pictures (N, C, H, W) are seen, where these are not all; nothing otherwise."""
    channels = shape[1] if len(shape) == 4 else 0
    if channels == 2:
        return "channel 0 of 2, in grey"
    return f"channels 0, 1 and 2 of {channels}, as red, green and blue" if channels > 3 else ""


def _shape(value: Value, asked: Arguments) -> tuple[int, ...]:
    """The shape (N, C, …) of the inputs that a value shows to people; empty where it shows none."""
    if isinstance(value, Pictures):
        return () if value.photos is None else tuple(value.values.shape)
    shown = bool(value.photos) if isinstance(value, Exemplars) else getattr(value, "photo", None) is not None
    return tuple(asked.probe().tensor.shape) if shown else ()
