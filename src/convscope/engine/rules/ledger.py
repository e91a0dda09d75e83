"""The books of one run: which operation was treated by which rule, what constants absorbed, what layers received."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Entry:
    """What one layer received and kept, summed per image (N,)."""

    address: str
    rule: str
    received: Tensor
    absorbed: Tensor
    lost: Tensor


@dataclass
class Ledger:
    """What happened on the way back through one chunk of ``images`` images."""

    images: int
    treated: Counter[tuple[str, str]] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    random: Counter[str] = field(default_factory=Counter)
    entries: list[Entry] = field(default_factory=list)
    absorbed: Tensor | None = None

    def treat(self, operation: str, rule: str) -> None:
        """Count an operation that a rule treated."""
        self.treated[operation, rule] += 1

    def absorb(self, amounts: Tensor) -> Tensor:
        """Book what a constant of the network takes of the relevance, as a tensor; gives the sums per image."""
        sums = self.per_image(amounts)
        self.absorbed = sums if self.absorbed is None else self.absorbed + sums
        return sums

    def per_image(self, amounts: Tensor) -> Tensor:
        """Sums per image (N,) of a tensor whose first axis is the batch, perhaps times the windows of each image."""
        if len(amounts) % self.images == 0:
            flat = amounts.detach().reshape(self.images, -1)
            return (flat if flat.dtype == torch.float64 else flat.float()).sum(1).double()
        return amounts.detach().double().sum().expand(self.images) / self.images

    def rules(self) -> dict[str, int]:
        """``{"conv2d z-plus": 52, …}``, the most frequent first."""
        return {f"{operation}: {rule}": count for (operation, rule), count in self.treated.most_common()}


def merged(ledgers: list[Ledger]) -> dict[str, Any]:
    """The books of several chunks as columns over all images: absorbed (N,) and per layer received, absorbed, lost."""
    absorbed = [
        one.absorbed if one.absorbed is not None else torch.zeros(one.images, dtype=torch.float64, device="cpu")
        for one in ledgers
    ]
    layers: dict[str, list[Tensor]] = {}
    for place, entry in enumerate(ledgers[0].entries):
        columns = [[getattr(one.entries[place], part) for one in ledgers] for part in ("received", "absorbed", "lost")]
        layers[_unlike(entry.address, layers)] = [torch.cat(column) for column in columns]
    return {"absorbed": torch.cat(absorbed), "layers": layers}


def _unlike(address: str, taken: dict[str, Any]) -> str:
    """``address``, numbered where a layer is called several times."""
    if address not in taken:
        return address
    number = next(n for n in range(2, len(taken) + 3) if f"{address} ({n})" not in taken)
    return f"{address} ({number})"
