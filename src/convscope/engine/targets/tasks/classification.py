"""Classification: one score per class, exclusive or not; a single score tells two classes apart."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.engine.network.output_meaning import class_confidences, two_class_scores
from convscope.engine.targets.classes import class_scores
from convscope.engine.targets.task_scorer import TaskScorer
from convscope.errors import OutputError
from convscope.spec.tasks import Task, task
from convscope.values import Prediction

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import Images
    from convscope.engine.network.model import Model

SIDES = ("negative", "positive")
"""The two classes of a single output, by name."""


class Side(TaskScorer):
    """One of the two classes that a single output tells apart."""

    def __init__(self, positive: bool, model: "Model") -> None:
        self.positive, self.model = positive, model

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """The score of this side."""
        if output.shape[1:].numel() != 1:
            raise OutputError(
                f"{self.describe(0)!r} is for a network with one output, and this has {tuple(output.shape[1:])}: "
                "name a class"
            )
        return two_class_scores(output.flatten(1), self.model.meaning)[:, int(self.positive)]

    def describe(self, row: int) -> str:
        """``positive`` or ``negative``."""
        return SIDES[self.positive]


def _recognizes(output: Any, model: "Model") -> bool:
    return isinstance(output, Tensor)


def encode_tensor(output: Any, model: "Model") -> Tensor | None:
    """A tensor as it is; None for any other output."""
    return output if isinstance(output, Tensor) else None


def _parse(text: str, model: "Model") -> Side | None:
    word = text.strip().lower()
    return Side(word == "positive", model) if word in SIDES else None


def predict_classes(
    model: "Model",
    images: "Images",
    rows: list[int],
    output: Tensor,
    top: int,
    *,
    exclusive: bool = True,
    explains_first: bool = True,
) -> list[Prediction]:
    """The classes, or the values, with the highest scores.

    Args:
        exclusive: whether the classes exclude each other.
        explains_first: whether the first of them is what is explained without a target.
    """
    if output.ndim > 2 and max(output.shape[2:]) == 1:
        output = output.flatten(1)
    if output.ndim != 2:
        raise OutputError(f"a prediction needs one row of scores per image, got output shape {tuple(output.shape)}")
    if not bool(torch.isfinite(output).all()):
        raise OutputError("the scores are NaN or infinite: the network overflows on this input")
    confidences = class_confidences(output, model.meaning, len(model.labels or ()))
    scores = class_scores(output, model)
    predictions = []
    for index, row in enumerate(rows):
        confidence = None if confidences is None else confidences[index]
        best = (scores[index] if confidence is None else confidence).topk(min(top, scores.shape[1])).indices
        predictions.append(
            Prediction(
                labels=tuple(
                    model.label(i) if model.labels or confidence is not None else f"number {i}" for i in best.tolist()
                ),
                indices=tuple(best.tolist()),
                confidences=() if confidence is None else tuple(confidence[best].tolist()),
                scores=tuple(scores[index][best].tolist()),
                units=tuple(model.unit_of(i) for i in best.tolist()) if model.units else (),
                exclusive=exclusive,
                explains_first=explains_first,
                photo=images.photo(row),  # type: ignore[arg-type]
                notes={"output": model.meaning.describe()},
            )
        )
    return predictions


task(
    Task(
        name="classification",
        title="classification",
        output="scores of classes (N, classes)",
        recognizes=_recognizes,
        encode=encode_tensor,
        targets={
            "": "the class with the highest score",
            "CLASS": "the score of a class, by label or index",
            "A - B": "the score of one class minus that of another",
            "positive": "of a single output: its score",
            "negative": "of a single output: the opposite score",
        },
        parse=_parse,
        predict=predict_classes,
    )
)
