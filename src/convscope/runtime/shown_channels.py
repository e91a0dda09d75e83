"""Which channels of an input its picture shows, where there are more channels than a picture has colors."""

from collections.abc import Sequence
from dataclasses import replace

from convscope.runtime.arguments import Arguments
from convscope.values import Exemplars, Pictures, Value
from convscope.values.facts import Fact

NOTE = "the input is drawn as"


def with_drawn_channels(value: Value, prepared: Arguments) -> Value:
    """The value with a note on the channels that its picture shows, if these are not all."""
    shown = getattr(prepared.model.input, "shown", None)
    channels = channels_drawn(_shape(value, prepared), shown)
    return replace(value, notes={**value.notes, NOTE: channels}) if channels else value


def channels_drawn(shape: Sequence[int], shown: Sequence[int] | None = None) -> str:
    """Which channels of pictures (N, C, H, W) are drawn, if these are not all; empty otherwise.

    Args:
        shown: the channels that the input specification chooses.
    """
    channels = shape[1] if len(shape) == 4 else 0
    if channels and shown is not None:
        bands = ", ".join(map(str, shown))
        if len(shown) == 1:
            return Fact("channel {bands} of {channels}, in grey", bands=bands, channels=channels)
        return Fact("channels {bands} of {channels}, as red, green and blue", bands=bands, channels=channels)
    if channels == 2:
        return Fact("channel 0 of 2, in grey")
    return Fact("channels 0, 1 and 2 of {channels}, as red, green and blue", channels=channels) if channels > 3 else ""


def _shape(value: Value, prepared: Arguments) -> tuple[int, ...]:
    """The shape (N, C, …) of the inputs that the picture of a value shows; empty where it shows none."""
    if isinstance(value, Pictures):
        return () if value.photos is None else tuple(value.values.shape)
    shown = bool(value.photos) if isinstance(value, Exemplars) else getattr(value, "photo", None) is not None
    return tuple(prepared.probe().tensor.shape) if shown else ()
