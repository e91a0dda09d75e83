"""The ledger of a run: which rule treated each operation, what constants absorbed, what each layer received."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from convscope.values.facts import Fact, as_fact


@dataclass
class LayerEntry:
    """The relevance that one layer received, absorbed and lost, summed per image (N,)."""

    address: str
    rule: str
    received: Tensor
    absorbed: Tensor
    lost: Tensor


@dataclass
class Ledger:
    """What happened in the backward pass of one chunk of ``images`` images."""

    images: int
    treated: Counter[tuple[str, str]] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    random: Counter[str] = field(default_factory=Counter)
    entries: list[LayerEntry] = field(default_factory=list)
    absorbed: Tensor | None = None

    def count(self, operation: str, rule: str) -> None:
        """Count an operation that was treated by a rule."""
        self.treated[operation, rule] += 1

    def absorb(self, amounts: Tensor) -> Tensor:
        """Record the relevance that a constant of the network absorbs, as a tensor; returns the sums per image."""
        sums = self.per_image(amounts)
        self.absorbed = sums if self.absorbed is None else self.absorbed + sums
        return sums

    def per_image(self, amounts: Tensor) -> Tensor:
        """Sums per image (N,) of a tensor whose first axis is the batch, or the batch times the windows of an image."""
        if len(amounts) % self.images == 0:
            flat = amounts.detach().reshape(self.images, -1)
            return (flat if flat.dtype == torch.float64 else flat.float()).sum(1).double()
        return amounts.detach().double().sum().expand(self.images) / self.images

    def rule_counts(self) -> dict[str, int]:
        """``{"conv2d: z-plus": 52, …}``, the most frequent first."""
        return {
            Fact("{operation}: {rule}", operation=operation, rule=as_fact(rule)): count
            for (operation, rule), count in self.treated.most_common()
        }


def merge_ledgers(ledgers: list[Ledger]) -> dict[str, Any]:
    """The ledgers of several chunks in one, over all images: absorbed (N,), and received, absorbed, lost per layer."""
    absorbed = [
        ledger.absorbed
        if ledger.absorbed is not None
        else torch.zeros(ledger.images, dtype=torch.float64, device="cpu")
        for ledger in ledgers
    ]
    layers: dict[str, list[Tensor]] = {}
    for index, entry in enumerate(ledgers[0].entries):
        columns = [
            [getattr(ledger.entries[index], column) for ledger in ledgers]
            for column in ("received", "absorbed", "lost")
        ]
        layers[_unique_name(entry.address, layers)] = [torch.cat(column) for column in columns]
    return {"absorbed": torch.cat(absorbed), "layers": layers}


def _unique_name(address: str, taken: dict[str, Any]) -> str:
    """``address``, numbered if the layer is called several times."""
    if address not in taken:
        return address
    number = next(n for n in range(2, len(taken) + 3) if f"{address} ({n})" not in taken)
    return f"{address} ({number})"
