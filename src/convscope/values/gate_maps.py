"""What the gates of a network let through for one input, and what the score owes to each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class GateMaps(Value):
    """The gates of every layer for one input, in the order in which they act.

    Attributes:
        gates: layer → float32, by what features are multiplied: (channels,) of a gate of channels, (positions …) of a
            gate of places, (channels, positions …) of one of both.
        effects: layer → the same shape: gate × gradient of the score, which is what the score would lose if this gate
            alone were closed and everything behind it were linear.
        over: layer → ``channels``, ``places`` or ``channels and places``.
        functions: layer → the function that made the gate: ``sigmoid``, ``hardsigmoid`` or ``softmax``.
        target: a description of the explained score; ``target_index`` is the class, if it is one.
        score: the explained score.
        photo: the input as displayed.
    """

    is_batched = True
    arrays: ClassVar[tuple[str, ...]] = ("gates", "effects", "photo")

    gates: Mapping[str, Tensor]
    effects: Mapping[str, Tensor]
    over: Mapping[str, str]
    functions: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    target_index: int | None = None
    score: float | None = None
    photo: np.ndarray[Any, Any] | None = None

    def strongest(self, layer: str, count: int = 3) -> list[tuple[str, float]]:
        """The channels (or places) with the largest effects, as (``layer[channel]`` or ``3x4``, effect)."""
        import numpy as np

        effects = self.effects[layer]
        if self.over[layer] != "places":
            by_channel = effects.reshape(len(effects), -1).sum(1)
            order = by_channel.abs().argsort(descending=True, stable=True)[:count].tolist()
            return [(f"{layer}[{channel}]", float(by_channel[channel])) for channel in order]
        order = effects.flatten().abs().argsort(descending=True, stable=True)[:count].tolist()
        places = zip(*np.unravel_index(order, tuple(effects.shape)), strict=True)
        return [("x".join(map(str, p)), float(effects.flatten()[n])) for p, n in zip(places, order, strict=True)]

    def lines(self) -> list[str]:
        """The target, and each gate with how far it is open and what the score owes to it most."""
        score = "" if self.score is None else f", score {self.score:.3g}"
        lines = [f"explains {self.target}{score}"] if self.target else []
        for layer, gate in self.gates.items():
            shape = "×".join(str(n) for n in gate.shape)
            low, mean, high = float(gate.min()), float(gate.mean()), float(gate.max())
            strongest = ", ".join(f"{name} {effect:+.3g}" for name, effect in self.strongest(layer))
            lines.append(
                f"{layer}: {shape} {self.over[layer]}, {low:.2f} to {high:.2f}, mean {mean:.2f}; largest {strongest}"
            )
        return lines

    def __repr__(self) -> str:
        shapes = (f"{layer} {'×'.join(str(n) for n in gate.shape)}" for layer, gate in self.gates.items())
        return f"GateMaps({self.target!r}: {', '.join(shapes)})"

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in ("gates", "effects"):
            stored[name] = {key: torch.from_numpy(array) for key, array in stored.get(name, {}).items()}
        return stored
