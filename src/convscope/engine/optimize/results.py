"""From where a climb led to the value that people get."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.engine.inputs.specs import InputSpec
from convscope.engine.optimize.loop import Ascent
from convscope.values import Pictures


def pictures_of(
    spec: InputSpec,
    ascent: Ascent,
    words: Sequence[str],
    *,
    photo: Any = None,
    features: Mapping[str, Tensor] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Pictures:
    """The pictures of a climb, as prepared inputs and for people.

    Args:
        spec: how the network's inputs are shown to people.
        words: what each picture was drawn for.
        photo: the photograph they began with.
    """
    return Pictures(
        values=ascent.pictures,
        words=tuple(words),
        scores=tuple(ascent.best.tolist()),
        curves=ascent.scores,
        reached=ascent.reached,
        photos=shown(spec, ascent.pictures),
        importance=ascent.importance,
        frames=_frames(spec, ascent.frames),
        features=dict(features or {}),
        photo=photo,
        notes={**_notes(ascent, words), **(notes or {})},
    )


def shown(spec: InputSpec, pictures: Tensor) -> Tensor | None:
    """Prepared pictures (N, C, …) for people: uint8 (N, height, width, 3); None where they cannot be seen."""
    if pictures.ndim != 4:
        return None
    found = [spec.picture(picture) for picture in pictures]
    return None if any(one is None for one in found) else torch.stack([torch.from_numpy(one) for one in found])


def _frames(spec: InputSpec, frames: Tensor) -> Tensor | None:
    found = [shown(spec, frame) for frame in frames]
    seen = [one for one in found if one is not None]
    return torch.stack(seen) if seen else None


def _notes(ascent: Ascent, words: Sequence[str]) -> dict[str, Any]:
    """What must be known of single pictures, said once where it is the same for all."""
    found: dict[str, dict[str, list[str]]] = {}
    for word, note in zip(words, ascent.notes, strict=True):
        for key, text in note.items():
            found.setdefault(key, {}).setdefault(str(text), []).append(word)
    return {
        key: "; ".join(_said(text, those, len(words)) for text, those in said.items()) for key, said in found.items()
    }


def _said(text: str, those: Sequence[str], of: int) -> str:
    return text if len(those) == of else f"{', '.join(those)}: {text}"
