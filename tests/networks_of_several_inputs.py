"""Networks that take an image, the row of a table, a series and tokens together, and a sample for them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import convscope as cs
from tests.nets import seeded

FEATURES = ("age", "pulse", "dose", "weight")
WORDS = ("<pad>", "good", "bad", "very", "not", "film")


class ImageAndTable(nn.Module):
    """A convolutional branch and a row of a table, which are multiplied, so that neither is explained alone."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()
        )
        self.rows = nn.Linear(4, 8)
        self.head = nn.Linear(16, 3)

    def forward(self, photo: Tensor, table: Tensor) -> Tensor:
        image, row = self.features(photo).flatten(2).mean(2), torch.tanh(self.rows(table))
        return self.head(torch.cat([image * row, row], 1))


class LinearInEach(nn.Module):
    """A score that is linear in each of four inputs; the weights of each are its parameter of that name."""

    def __init__(self) -> None:
        super().__init__()
        self.photo = nn.Parameter(torch.randn(3, 8, 8))
        self.table = nn.Parameter(torch.randn(4))
        self.series = nn.Parameter(torch.randn(2, 10))
        self.embed = nn.Embedding(len(WORDS), 5)
        self.words = nn.Parameter(torch.randn(3, 5))

    def forward(self, photo: Tensor, table: Tensor, series: Tensor, words: Tensor) -> Tensor:
        parts = ((photo, self.photo), (table, self.table), (series, self.series), (self.embed(words), self.words))
        return torch.stack([(x * w).flatten(1).sum(1) for x, w in parts], 1).sum(1, keepdim=True)


class WordScorer(nn.Module):
    """An embedding, a recurrent layer and a linear layer over words."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(WORDS), 5)
        self.gru = nn.GRU(5, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 3)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.gru(self.embed(words))[0].mean(1))


def image_and_table() -> cs.Model:
    inputs: dict[str, Any] = {"photo": cs.ImageInput(size=16), "table": cs.TableInput(features=FEATURES)}
    return cs.Model(seeded(ImageAndTable).eval(), inputs=inputs)


def linear_in_each() -> cs.Model:
    inputs: dict[str, Any] = {
        "photo": cs.ImageInput(size=8),
        "table": cs.TableInput(features=FEATURES),
        "series": cs.SignalInput(shape=(2, 10)),
        "words": cs.TokenInput(vocabulary=WORDS),
    }
    return cs.Model(seeded(LinearInEach).eval(), inputs=inputs)


def word_scorer(**options: Any) -> cs.Model:
    return cs.Model(seeded(WordScorer).eval(), input=cs.TokenInput(vocabulary=WORDS, **options))


def photo_and_row(seed: int = 0, side: int = 16) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"photo": rng.integers(0, 256, (side, side, 3), dtype=np.uint8), "table": rng.normal(size=4).tolist()}


def full_sample() -> dict[str, Any]:
    series = np.random.default_rng(1).normal(size=(2, 10)).astype(np.float32)
    return {**photo_and_row(side=8), "series": series, "words": "not very good"}


def skin() -> cs.Model:
    """A photograph and the row of a table, as the address ``networks_of_several_inputs.py:skin`` opens it."""
    photo = cs.ImageInput(size=16)
    table = cs.TableInput(features=("age", "pulse", "dose", "weight"), mean=(50, 70, 1, 60), std=(20, 10, 1, 15))
    network = seeded(ImageAndTable).eval()
    return cs.Model(network, inputs={"photo": photo, "table": table}, labels=("healthy", "ill", "unclear"))


def rows() -> cs.Model:
    net = seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    return cs.Model(net.eval(), input=cs.TableInput(features=FEATURES))
