"""From the result of gradient ascent to the value that a lens returns."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.engine.inputs.specs import InputSpec
from convscope.engine.optimize.loop import AscentResult
from convscope.values import Pictures
from convscope.values.facts import Fact


def pictures_of(
    spec: InputSpec,
    ascent: AscentResult,
    words: Sequence[str],
    *,
    photo: Any = None,
    features: Mapping[str, Tensor] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Pictures:
    """The optimized pictures, as prepared inputs and as RGB images.

    Args:
        spec: converts inputs of the network to RGB images.
        words: the objective of each picture.
        photo: the photograph that the optimization started from.
    """
    return Pictures(
        values=ascent.pictures,
        words=tuple(words),
        scores=tuple(ascent.best.tolist()),
        curves=ascent.scores,
        reached=ascent.reached,
        photos=displayable(spec, ascent.pictures),
        importance=ascent.importance,
        frames=_frames(spec, ascent.frames),
        features=dict(features or {}),
        photo=photo,
        notes={**_notes(ascent, words), **(notes or {})},
    )


def displayable(spec: InputSpec, pictures: Tensor) -> Tensor | None:
    """Prepared pictures (N, C, …) as RGB images: uint8 (N, height, width, 3); None if they cannot be displayed."""
    if pictures.ndim != 4:
        return None
    images = [spec.picture(picture) for picture in pictures]
    if any(image is None for image in images):
        return None
    return torch.stack([torch.from_numpy(image) for image in images])


def _frames(spec: InputSpec, frames: Tensor) -> Tensor | None:
    batches = [displayable(spec, frame) for frame in frames]
    displayed = [batch for batch in batches if batch is not None]
    return torch.stack(displayed) if displayed else None


def _notes(ascent: AscentResult, words: Sequence[str]) -> dict[str, Any]:
    """The notes on single pictures; a text that is the same for all pictures is written once."""
    pictures_by_text: dict[str, dict[str, list[str]]] = {}
    for word, note in zip(words, ascent.notes, strict=True):
        for key, text in note.items():
            pictures_by_text.setdefault(key, {}).setdefault(text, []).append(word)
    return {key: _sentence(texts, len(words)) for key, texts in pictures_by_text.items()}


def _sentence(pictures_by_text: Mapping[str, Sequence[str]], count: int) -> str:
    """The texts, each with the pictures that it is about unless these are all."""
    parts = [
        text if len(pictures) == count else Fact("{pictures}: {text}", pictures=pictures, text=text)
        for text, pictures in pictures_by_text.items()
    ]
    return Fact("{parts:; }", parts=parts)
