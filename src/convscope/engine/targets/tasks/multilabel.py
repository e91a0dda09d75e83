"""Multi-label classification: labels that do not exclude each other, each with a probability of its own."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from convscope.engine.network.output_meaning import class_confidences
from convscope.engine.targets.classes import class_axis
from convscope.engine.targets.task_scorer import TaskScorer, references
from convscope.engine.targets.tasks.classification import encode_tensor, predict_classes
from convscope.errors import OutputError
from convscope.spec.tasks import Task, task
from convscope.values.facts import Fact

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import Images
    from convscope.engine.network.model import Model
    from convscope.values import Prediction

_PREDICTED = "predicted"
_INDEPENDENT = ("multilabel", "sigmoid", "log-sigmoid")
"""The meanings of outputs that give each label a probability of its own."""


class PredictedLabels(TaskScorer):
    """The mean score of the labels that an image is predicted to have, which its first output fixes."""

    def __init__(self, model: "Model") -> None:
        self.model = model
        self._weights: dict[int, Tensor] = {}

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """The mean score of the labels."""
        scores = class_axis(output)
        for own_scores, row in zip(scores.detach(), rows.tolist(), strict=True):
            if row not in self._weights:
                self._weights[row] = self._weights_of(own_scores[None])
        return (scores * references(self._weights, rows, scores.device).to(scores)).sum(1)

    def describe(self, row: int) -> str:
        """The target as users write it."""
        return _PREDICTED

    def _weights_of(self, scores: Tensor) -> Tensor:
        probabilities = _probabilities(scores, self.model)
        predicted = (probabilities > 0.5).float()
        if not bool(predicted.any()):
            best = int(probabilities.argmax())
            raise OutputError(
                f"no label has a probability above one half in this image: name one as the target, as in "
                f"{self.model.label(best)!r}, which has the highest ({float(probabilities.max()):.1%})"
            )
        return predicted / predicted.sum()


def _probabilities(output: Tensor, model: "Model") -> Tensor:
    """The probability of each label; of values without probabilities, whether they are above zero."""
    confidences = class_confidences(output, model.meaning, 0)
    return (output > 0).float()[0] if confidences is None else confidences[0]


def _recognizes(output: Any, model: "Model") -> bool:
    if not isinstance(output, Tensor) or output.ndim < 2 or output.shape[1] < 2:
        return False
    return output.shape[2:].numel() == 1 and model.meaning_of_values.kind in _INDEPENDENT


def _parse(text: str, model: "Model") -> PredictedLabels | None:
    return PredictedLabels(model) if text.strip().lower() == _PREDICTED else None


def _predict(model: "Model", images: "Images", rows: list[int], output: Tensor, top: int) -> list["Prediction"]:
    predictions = predict_classes(model, images, rows, output, top, exclusive=False)
    confidences = class_confidences(class_axis(output), model.meaning, 0)
    if confidences is None:
        return predictions
    facts = [
        Fact(
            "{count} of {total} have a probability above one half; they need not add up to one",
            count=count,
            total=confidences.shape[1],
        )
        for count in (confidences > 0.5).sum(1).tolist()
    ]
    return [
        replace(prediction, notes={**prediction.notes, "labels": fact})
        for prediction, fact in zip(predictions, facts, strict=True)
    ]


task(
    Task(
        name="multilabel",
        title="multi-label classification",
        output="scores of labels (N, labels) that do not exclude each other: a sigmoid each",
        recognizes=_recognizes,
        encode=encode_tensor,
        targets={
            "": "the label with the highest probability",
            "LABEL": "the score of a label, by name or index",
            "A - B": "the score of one label minus that of another",
            _PREDICTED: "the mean score of the labels with a probability above one half",
        },
        prefixes=(_PREDICTED,),
        target_label="Or type a label, or: predicted",
        default_target="the best label",
        parse=_parse,
        predict=_predict,
        meaning="multilabel",
    )
)
