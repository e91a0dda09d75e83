"""Targets of a task: scorers of encoded outputs that remember, for each image, what they refer to."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import Images


class TaskScorer(ABC):
    """Scores the outputs of a task, one number per output.

    Like the top class, what a target refers to in an image (a region, a box) is fixed by the first output of that image
    that is scored, so that all outputs of perturbed images are scored for the same region or box.
    """

    @abstractmethod
    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """The score of each output; output i belongs to image ``rows[i]``."""

    @abstractmethod
    def describe(self, row: int) -> str:
        """The target of one image, as users write it."""

    def index_of(self, row: int) -> int | None:
        """The class of one image, where the target is a class."""
        return None

    def check_images(self, images: "Images") -> None:  # noqa: B027  (most targets take any image)
        """Refuse images that the target was not made for, before anything is computed."""

    def for_copies(self, rows: Tensor) -> "TaskScorer":
        """The same scorer for a batch of copies, where copy i is of image ``rows[i]``."""
        return _OfCopies(self, rows)


class _OfCopies(TaskScorer):
    """A scorer whose images are copies of other images."""

    def __init__(self, scorer: TaskScorer, rows: Tensor) -> None:
        self.scorer, self.rows = scorer, rows

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        return self.scorer(output, self.rows[rows])

    def describe(self, row: int) -> str:
        return self.scorer.describe(int(self.rows[row]))

    def index_of(self, row: int) -> int | None:
        return self.scorer.index_of(int(self.rows[row]))


def references(stored: dict[int, Tensor], rows: Tensor, device: torch.device) -> Tensor:
    """The tensors stored for images, one per output."""
    return torch.stack([stored[row] for row in rows.tolist()]).to(device)
