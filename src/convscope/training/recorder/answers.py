"""What the network answered on validation samples: a few numbers of each sample, and its worst mistakes as pictures.

The scores come from a forward pass of the training itself. Memory and files are bounded: of more than `MOST_SAMPLES`
samples evenly spaced ones are kept, the same at every step.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.errors import ParameterError

MOST_SAMPLES, MOST_MISTAKES = 10_000, 12
"""The largest number of samples of which numbers are kept, and of mistakes of which pictures are."""

FIELDS = ("samples", "labels", "answers", "confidence", "label_probability", "margin")
"""The arrays of one number for each sample.

``samples`` is the position in the validation set, ``confidence`` the probability of the answer, ``margin`` the score of
the label minus the largest of the others.
"""

Arrays = dict[str, "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class Mistake:
    """A wrong answer with what the network received."""

    sample: int
    label: int
    answer: int
    confidence: float
    label_probability: float
    image: Tensor


@dataclass
class Answers:
    """The answers since the last validation; batches are added one after another.

    Attributes:
        total: the number of samples that were added.
        classes: the number of classes.
        mistakes: the wrong answers with the least probable labels, of samples that came with their images.
    """

    total: int = 0
    classes: int = 0
    mistakes: list[Mistake] = field(default_factory=list)
    _parts: list[Arrays] = field(default_factory=list)
    _spacing: int = 1

    def add(self, scores: Tensor, labels: Tensor, images: Tensor | None) -> None:
        """Add a batch.

        Raises:
            ParameterError: scores, labels and images do not fit each other.
        """
        scores, labels = _checked(scores, labels, images)
        if self.classes not in (0, scores.shape[1]):
            raise ParameterError(
                f"the scores of this batch are of {scores.shape[1]} classes, those before of {self.classes}"
            )
        self.classes = scores.shape[1]
        part = {"samples": np.arange(self.total, self.total + len(labels)), **_numbers(scores, labels)}
        self.total += len(labels)
        if images is not None:
            self._keep_mistakes(part, images)
        self._parts.append({name: values[part["samples"] % self._spacing == 0] for name, values in part.items()})
        if sum(len(kept["samples"]) for kept in self._parts) > MOST_SAMPLES:
            self._spacing *= 2
            every = self._spacing
            self._parts = [{n: v[kept["samples"] % every == 0] for n, v in kept.items()} for kept in self._parts]

    def arrays(self) -> Arrays:
        """The numbers of all samples that are kept, and how many there were."""
        joined = {name: np.concatenate([part[name] for part in self._parts]) for name in FIELDS}
        return {**joined, "total": np.array(self.total)}

    def _keep_mistakes(self, part: Arrays, images: Tensor) -> None:
        wrong = np.flatnonzero((part["answers"] != part["labels"]) & np.isfinite(part["confidence"]))
        worst = wrong[np.argsort(part["label_probability"][wrong], kind="stable")[:MOST_MISTAKES]]
        with torch.inference_mode(False), torch.no_grad():  # kept beyond the mode of the validation
            new = [
                Mistake(
                    int(part["samples"][row]), int(part["labels"][row]), int(part["answers"][row]),
                    float(part["confidence"][row]), float(part["label_probability"][row]), images[int(row)].clone(),
                )
                for row in worst
            ]  # fmt: skip
        self.mistakes = sorted([*self.mistakes, *new], key=lambda mistake: mistake.label_probability)[:MOST_MISTAKES]


def _numbers(scores: Tensor, labels: Tensor) -> Arrays:
    """The numbers of each sample of a batch; NaN where a score is not finite."""
    probabilities = scores.softmax(1)
    answers = scores.nan_to_num(nan=-torch.inf).argmax(1)
    of_label = scores.gather(1, labels[:, None])[:, 0]
    others = scores.scatter(1, labels[:, None], -torch.inf).amax(1)
    return {
        "labels": labels.to(torch.int32).numpy(),
        "answers": answers.to(torch.int32).numpy(),
        "confidence": probabilities.gather(1, answers[:, None])[:, 0].numpy().astype(np.float32),
        "label_probability": probabilities.gather(1, labels[:, None])[:, 0].numpy().astype(np.float32),
        "margin": (of_label - others).numpy().astype(np.float32),
    }


def _checked(scores: Any, labels: Any, images: Any) -> tuple[Tensor, Tensor]:
    """Scores (N, classes) in double precision and labels (N,), both in main memory."""
    for name, tensor in (("scores", scores), ("labels", labels), ("images", images)):
        if not isinstance(tensor, Tensor) and not (name == "images" and tensor is None):
            raise ParameterError(f"{name} are a tensor, got {type(tensor).__name__}")
    shape = tuple(scores.shape)
    if scores.ndim == 1 or (scores.ndim == 2 and shape[1] == 1):  # one score says how much more likely class 1 is
        scores = torch.stack([torch.zeros_like(scores.reshape(-1)), scores.reshape(-1)], 1)
    if scores.ndim != 2:
        raise ParameterError(f"scores are one row of classes for each sample, got the shape {shape}")
    if tuple(labels.shape) not in ((len(scores),), (len(scores), 1)) or labels.is_floating_point():
        raise ParameterError(
            f"labels are the index of the class of each of the {len(scores)} samples, got {labels.dtype} of the shape "
            f"{tuple(labels.shape)}"
        )
    if images is not None and len(images) != len(scores):
        raise ParameterError(f"there are {len(images)} images and {len(scores)} rows of scores: pass one for each")
    with torch.inference_mode(False), torch.no_grad():
        scores, labels = scores.detach().double().cpu().clone(), labels.detach().reshape(-1).long().cpu().clone()
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < scores.shape[1]:
        raise ParameterError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, and the scores are of {scores.shape[1]} "
            "classes"
        )
    return scores, labels
