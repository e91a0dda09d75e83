"""A kind of value: the score of an image, and of a part of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.values import Value


@dataclass(frozen=True, kw_only=True, eq=False)
class CropScore(Value):
    """The score of one class for the whole image and for the part inside a rectangle."""

    arrays = ("scores",)
    attributes = is_batched = True

    scores: Any
    label: str
    area: tuple[int, ...] = ()

    def lines(self) -> list[str]:
        """Both scores."""
        whole, part = np.asarray(self.scores).tolist()
        return [f"{self.label}: {whole:.3f} for the whole image, {part:.3f} for the part"]

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        return {**stored, "area": tuple(stored["area"])}
