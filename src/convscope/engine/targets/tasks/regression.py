"""Regression: one or several numbers, with names (the model's labels) and units."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from convscope.engine.targets.tasks.classification import encode_tensor, predict_classes
from convscope.spec.tasks import Task, task

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


def _recognizes(output: Any, model: "Model") -> bool:
    return isinstance(output, Tensor) and model.meaning_of_values.kind == "value"


def _parse(text: str, model: "Model") -> None:
    return None


task(
    Task(
        name="regression",
        title="regression",
        output="numbers (N, numbers) that are no scores of classes",
        recognizes=_recognizes,
        encode=encode_tensor,
        targets={"": "the largest number", "NAME": "a number, by its name (a label) or index"},
        target_label="Or type the name of a number",
        default_target="the largest number",
        question="What raises and lowers “{}”?",
        parse=_parse,
        predict=predict_classes,
        meaning="value",
    )
)
