"""What a network answers, as rows: classes, classes with the share of the input that they cover, or boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

from convscope.render.captions import class_name, short_name, title
from convscope.render.palette import class_colours
from convscope.values import Detections, Prediction, Segmentation, Value
from convscope.values.facts import Fact

Answer = Prediction | Segmentation | Detections
ANSWERS = (Prediction, Segmentation, Detections)
"""Kinds of values that hold what a network answers."""


@dataclass(frozen=True)
class TopClass:
    """One of the top classes, or a box.

    Attributes:
        name: its label with its index.
        value_text: its confidence (``93.1%``), its share of the input, or its output value if there is neither.
        share: its confidence or share from 0 to 1, if there is one.
        key: what tells it from the other rows: the index of the class, or the number of the box.
        target: how a target names it.
        colour: its colour in the picture; empty where it has none.
        is_predicted: whether it stands out: the first row, or of several labels each above one half.
    """

    name: str
    value_text: str
    share: float | None
    key: int = 0
    target: str = ""
    colour: str = ""
    is_predicted: bool = False


def top_classes(prediction: Prediction) -> list[TopClass]:
    """The top classes with their confidences, or with their output values if there are none."""
    shares = prediction.confidences or [None] * len(prediction.labels)
    rows = zip(prediction.labels, prediction.indices, prediction.formatted_scores(), shares, strict=True)
    return [
        TopClass(
            class_name(label, i),
            text.replace("-", "−"),  # the sign that scales have
            share,
            i,
            str(i),
            is_predicted=_is_predicted(prediction, number),
        )
        for number, (label, i, text, share) in enumerate(rows)
    ]


def _is_predicted(prediction: Prediction, number: int) -> bool:
    if prediction.exclusive or not prediction.confidences:
        return number == 0
    return prediction.confidences[number] > 0.5


def class_shares(segmentation: Segmentation) -> list[TopClass]:
    """The predicted classes with the share of the input that each covers."""
    texts, colours = segmentation.formatted_shares(), legend_colours(segmentation)
    rows = zip(segmentation.labels, segmentation.indices, texts, segmentation.shares, strict=True)
    return [
        TopClass(class_name(label, i), text, share, i, str(i), colours[i], is_predicted=number == 0)
        for number, (label, i, text, share) in enumerate(rows)
    ]


def boxes(detections: Detections) -> list[TopClass]:
    """The detected boxes with their numbers and scores."""
    rows = zip(
        detections.labels, detections.formatted_scores(), detections.scores, box_colours(detections), strict=True
    )
    return [
        TopClass(f"{number}  {label}", text, score, number, f"box:{number}", colour, is_predicted=number == 0)
        for number, (label, text, score, colour) in enumerate(rows)
    ]


def answers(value: Value) -> list[TopClass]:
    """The rows of what a network answers; none for other values."""
    if isinstance(value, Segmentation):
        return class_shares(value)
    if isinstance(value, Detections):
        return boxes(value)
    return top_classes(value) if isinstance(value, Prediction) else []


def explained_by_default(value: Value) -> TopClass | None:
    """The row that is explained without a target; None where there is none."""
    if isinstance(value, Prediction) and not value.explains_first:
        return None
    rows: Sequence[TopClass] = answers(value)
    objects = [row for row in rows if not isinstance(value, Segmentation) or row.key != value.background]
    return next(iter([*objects, *rows]), None)


def legend_colours(segmentation: Segmentation) -> dict[int, str]:
    """The colour of each predicted class by its index; empty for the background, which is not coloured."""
    objects = [index for index in segmentation.indices if index != segmentation.background]
    return {segmentation.background: "", **dict(zip(objects, class_colours(len(objects)), strict=True))}


def box_colours(detections: Detections) -> tuple[str, ...]:
    """A colour for each box: the same for boxes of the same class."""
    classes = [*dict.fromkeys(detections.indices)]
    of_class = dict(zip(classes, class_colours(len(classes)), strict=True))
    return tuple(of_class[index] for index in detections.indices)


def alt_of_answer(value: Value) -> str:
    """The alternative text of what a network answers."""
    return Fact(
        "{title} for {input}: {classes}.",
        title=title(value),
        input=short_name(value.record.input) or Fact("one input"),
        classes=[Fact("{label} {value}", label=answer.name, value=answer.value_text) for answer in answers(value)]
        or [Fact("nothing")],
    )
