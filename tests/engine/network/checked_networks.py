"""Networks that the checks are tested on."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def same(x: Tensor) -> Tensor:
    return x


class Net(nn.Module):
    """Two convolutions of any rank and a head; ``before``, ``between`` and ``after`` are inserted functions."""

    def __init__(self, rank: int = 2, *, before: Any = same, between: Any = same, after: Any = same) -> None:
        super().__init__()
        self.first = CONVOLUTIONS[rank](3, 8, 3, padding=1)
        self.second = CONVOLUTIONS[rank](8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)
        self.before, self.between, self.after = before, between, after

    def forward(self, x: Tensor) -> Tensor:
        maps = self.between(self.first(self.before(x)).relu())
        return self.after(self.head(self.second(maps).relu().flatten(2).mean(2)))


class Tokens(nn.Module):
    """Attention over patches; without ``batch_first`` it runs over the images of a batch."""

    def __init__(self, *, batch_first: bool, between: Any = same) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first, dropout=0.0)
        self.head, self.between = nn.Linear(8, 3), between

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self.block(self.patches(x).flatten(2).transpose(1, 2))).mean(1))


class Recurrent(nn.Module):
    """An LSTM along time, or by mistake along the batch."""

    def __init__(self, *, over_images: bool = False, between: Any = same) -> None:
        super().__init__()
        self.memory, self.head = nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 3)
        self.over_images, self.between = over_images, between

    def forward(self, x: Tensor) -> Tensor:
        if self.over_images:
            return self.head(self.memory(x.mean(2)[None])[0][0])
        return self.head(self.between(self.memory(x.transpose(1, 2))[0]).mean(1))


def hooked(hook: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def between(x: Tensor) -> Tensor:
        if x.requires_grad:
            x.register_hook(hook)
        return x

    return between
