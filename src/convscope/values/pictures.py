"""Pictures that an optimiser drew: what units look for, what a network dreams into a photograph, what it remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.errors import CannotWrite
from convscope.values.base import Value, renderer

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures(Value):
    """Drawn pictures, with what each was drawn for and how far it got.

    Attributes:
        values: float32 (K, C, …): the pictures as prepared inputs of the network.
        words: what each was drawn for, such as ``layer3[12]``.
        scores: the objective of each finished picture, by the network as it is, without transforms or penalties.
        curves: float32 (K, steps): the objective at each step, of the picture as the network was shown it: moved,
            scaled and rotated.
        reached: float32 (K, steps): the objective of the best picture so far as it is, taken every few steps and NaN
            between them; its last number is the score.
        photos: uint8 (K, height, width, 3): the pictures for people; None of signals and volumes.
        importance: float32 (K, …): how much of the climb went into each place; where it is low, nothing was drawn.
        frames: uint8 (F, K, height, width, 3): pictures on the way, where they were asked for.
        features: what the pictures were drawn from, such as Gram matrices, by layer.
        photo: the photograph that they began with, where they did.
    """

    arrays: ClassVar[tuple[str, ...]] = (
        "values",
        "curves",
        "reached",
        "photos",
        "importance",
        "frames",
        "features",
        "photo",
    )
    writers: ClassVar[Mapping[str, str]] = {**Value.writers, ".gif": "_save_gif"}

    values: Tensor
    words: tuple[str, ...]
    scores: tuple[float, ...]
    curves: Tensor
    reached: Tensor | None = None
    photos: Tensor | None = None
    importance: Tensor | None = None
    frames: Tensor | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    photo: np.ndarray[Any, Any] | None = None

    @property
    def climbs(self) -> list[list[tuple[int, float]]]:
        """For each picture how its score came about: (step, objective of the best picture so far), from 1 on."""
        found = self.curves if self.reached is None else self.reached
        return [[(step, one) for step, one in enumerate(row, 1) if one == one] for row in found.tolist()]

    def lines(self) -> list[str]:
        """What each picture was drawn for, and how far it got from where it began."""
        width = max(len(one) for one in self.words)
        return [
            f"{one:<{width}}  {climb[0][1]:.3g} → {score:.3g}"
            for one, climb, score in zip(self.words, self.climbs, self.scores, strict=True)
        ]

    def _save_gif(self, path: Path) -> None:
        if self.frames is None or not len(self.frames):
            raise CannotWrite("a .gif shows pictures on their way: ask for some with frames=…, or write a .png")
        path.write_bytes(renderer().moving(self))

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in ("values", "curves", "reached", "photos", "importance", "frames"):
            if stored.get(name) is not None:
                stored[name] = torch.from_numpy(stored[name])
        features = {name: torch.from_numpy(found) for name, found in stored.get("features", {}).items()}
        return {**stored, "features": features, "words": tuple(stored["words"]), "scores": tuple(stored["scores"])}

    def __repr__(self) -> str:
        shape = "×".join(str(side) for side in self.values.shape[2:])
        return f"Pictures({', '.join(self.words)}; {shape})"
