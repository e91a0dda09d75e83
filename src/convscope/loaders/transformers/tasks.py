"""What a network of transformers is for, from the name of its class: how it is built and what of it is explained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from convscope.errors import LoadError
from convscope.loaders.transformers import outputs


@dataclass(frozen=True)
class Task:
    """A kind of network.

    Attributes:
        title: what it does.
        endings: how the names of its classes end.
        builder: the class of transformers that finds the class for a configuration.
        output: what is explained, given the number of classes; None where the task itself reads the output.
        has_classes: whether the outputs are classes with labels.
        task: its name in ``cs.Model(task=…)``; empty where that follows from the output.
    """

    title: str
    endings: tuple[str, ...]
    builder: str
    output: Callable[[int], str | Callable[[Any], Tensor] | None]
    has_classes: bool = True
    task: str = ""


def _logits(classes: int) -> str:
    return "logits"


TASKS = (
    Task("image classification", ("ForImageClassification", "WithTeacher"), "AutoModelForImageClassification", _logits),
    Task(
        "audio classification",
        ("ForAudioClassification", "ForSequenceClassification"),
        "AutoModelForAudioClassification",
        _logits,
    ),
    Task(
        "semantic segmentation",
        ("ForSemanticSegmentation",),
        "AutoModelForSemanticSegmentation",
        _logits,
        task="segmentation",
    ),
    Task(
        "universal segmentation",
        ("ForUniversalSegmentation", "ForInstanceSegmentation"),
        "AutoModelForUniversalSegmentation",
        lambda classes: outputs.class_map_of_queries,
        task="segmentation",
    ),
    Task(
        "object detection",
        ("ForObjectDetection",),
        "AutoModelForObjectDetection",
        lambda classes: None,
        task="detection",
    ),
    Task(
        "depth estimation",
        ("ForDepthEstimation",),
        "AutoModelForDepthEstimation",
        lambda classes: outputs.depth_map,
        has_classes=False,
    ),
    Task("embedding", ("Model",), "AutoModel", lambda classes: "pooler_output", has_classes=False, task="embedding"),
)
"""The kinds that are opened, of which the first that fits is taken."""

IMAGE_EMBEDDING = Task(
    "image embedding", (), "", lambda classes: outputs.image_embedding, has_classes=False, task="embedding"
)
"""The part for images of a network for images and texts, such as CLIP."""

PROJECTED_IMAGES = "VisionModelWithProjection"
"""How the name of such a part ends where it is saved alone."""

_PROBLEM_TYPES = {"multi_label_classification": "multilabel", "regression": "regression"}
"""The task of a classifier's class by the ``problem_type`` of its configuration: by which loss it was trained."""


def task_name(task: Task, config: Any) -> str | None:
    """The name in ``cs.Model(task=…)`` of what a network is for; None where that follows from its output."""
    if task.task or not task.has_classes:
        return task.task or None
    return _PROBLEM_TYPES.get(getattr(config, "problem_type", None) or "")


def is_opened(name: str) -> bool:
    """Whether a class of transformers with this name is opened."""
    return name.endswith(PROJECTED_IMAGES) or any(name.endswith(task.endings) for task in TASKS)


def find_task(architectures: Sequence[str] | None, source: str) -> Task:
    """The task of the class that a configuration names.

    Raises:
        LoadError: it names none, or one of another kind.
    """
    if not architectures:
        raise LoadError(f"{source} does not say which network it is: its config.json names no architectures")
    name = str(architectures[0])
    for task in TASKS:
        if name.endswith(task.endings):
            return task
    titles = ", ".join(task.title for task in TASKS[:-1])
    raise LoadError(f"{source} is a {name}, which is not opened here: there are networks for {titles} and embeddings")
