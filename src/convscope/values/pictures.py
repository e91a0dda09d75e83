"""Pictures made by optimization: activation maximization, DeepDream, feature inversion, style transfer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.errors import CannotWrite
from convscope.values.backends import get_renderer
from convscope.values.base import Value
from convscope.values.deprecated import deprecated_names

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@deprecated_names(climbs="score_curves")
@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures(Value):
    """Optimized pictures, with the objective of each and its history.

    Attributes:
        values: float32 (K, C, …): the pictures as prepared inputs of the network.
        words: the objective of each picture, such as ``layer3[12]``.
        scores: the objective value of each final picture, without transforms and penalties.
        curves: float32 (K, steps): the objective value at each step, for the transformed picture (jittered, scaled,
            rotated).
        reached: float32 (K, steps): the objective value of the best picture so far without transforms, evaluated every
            few steps and NaN in between; the last number is the score.
        photos: uint8 (K, height, width, 3): the pictures for display; None for signals and volumes.
        importance: float32 (K, …): how much of the optimization changed each position; where it is low, the picture is
            still the initial one.
        frames: uint8 (F, K, height, width, 3): intermediate pictures, if requested.
        features: layer → the features that the pictures were optimized to match, such as Gram matrices.
        photo: the initial photograph, if there is one.
    """

    is_optimized = True
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
    def score_curves(self) -> list[list[tuple[int, float]]]:
        """For each picture the pairs (step, objective value of the best picture so far); steps count from 1."""
        curves = self.curves if self.reached is None else self.reached
        return [[(step, value) for step, value in enumerate(row, 1) if value == value] for row in curves.tolist()]

    def lines(self) -> list[str]:
        """The objective of each picture with its first and its final value."""
        width = max(len(objective) for objective in self.words)
        return [
            f"{objective:<{width}}  {curve[0][1]:.3g} → {score:.3g}"
            for objective, curve, score in zip(self.words, self.score_curves, self.scores, strict=True)
        ]

    def _save_gif(self, path: Path) -> None:
        if self.frames is None or not len(self.frames):
            raise CannotWrite("a .gif needs intermediate pictures: request them with frames=…, or write a .png")
        path.write_bytes(get_renderer().animated_gif(self))

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in ("values", "curves", "reached", "photos", "importance", "frames"):
            if stored.get(name) is not None:
                stored[name] = torch.from_numpy(stored[name])
        features = {name: torch.from_numpy(array) for name, array in stored.get("features", {}).items()}
        return {**stored, "features": features, "words": tuple(stored["words"]), "scores": tuple(stored["scores"])}

    def __repr__(self) -> str:
        shape = "×".join(str(side) for side in self.values.shape[2:])
        return f"Pictures({', '.join(self.words)}; {shape})"
