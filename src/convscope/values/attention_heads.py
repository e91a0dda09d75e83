"""What the heads of every layer do on average over inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionHeads(Value):
    """Statistics of every head, averaged over inputs and over the tokens that attend.

    Attributes:
        entropy: layer → float32 (heads,): the entropy of the weights as a share of that of equal weights, 0 to 1.
        distance: layer → float32 (heads,): the mean distance of what is attended to, in positions of the input; NaN
            where tokens have no place.
        reach: layer → float32 (heads,): that distance as a share of the distance under equal weights.
        beside: layer → float32 (heads,): the weight on tokens without a place.
        similarity: layer → float32 (heads, heads): the cosine between the weights of two heads.
        roles: layer → one word per head: ``local``, ``global``, ``uniform``, ``beside`` or ``copy of N``.
        images: the number of inputs.
    """

    arrays: ClassVar[tuple[str, ...]] = ("entropy", "distance", "reach", "beside", "similarity")

    entropy: Mapping[str, Tensor]
    distance: Mapping[str, Tensor]
    reach: Mapping[str, Tensor]
    beside: Mapping[str, Tensor]
    similarity: Mapping[str, Tensor]
    roles: Mapping[str, tuple[str, ...]]
    images: int

    def lines(self) -> list[str]:
        """Each head with its entropy, its mean distance and its kind."""
        lines = [f"over {self.images} input{'s' * (self.images != 1)}"]
        for layer, roles in self.roles.items():
            heads = (
                f"{head} {kind} (entropy {self.entropy[layer][head]:.2f}, distance {self.distance[layer][head]:.3g})"
                for head, kind in enumerate(roles)
            )
            lines.append(f"{layer}: {', '.join(heads)}")
        return lines

    def __repr__(self) -> str:
        return f"AttentionHeads({', '.join(f'{layer} {len(roles)}' for layer, roles in self.roles.items())})"

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in cls.arrays:
            stored[name] = {key: torch.from_numpy(array) for key, array in stored.get(name, {}).items()}
        return {**stored, "roles": {key: tuple(words) for key, words in stored["roles"].items()}}
