"""What a task declares: how outputs of networks are recognized, scored and predicted; and the table of all tasks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convscope.spec.tables import Table


@dataclass(frozen=True)
class Task:
    """The declaration of one task.

    The functions get a `Model` as ``model``; the output of a network is the tensor that ``encode`` gives.

    Attributes:
        name: its name in ``task=`` and ``--task``.
        title: what such a network does, in words.
        output: the outputs that are recognized, in words.
        recognizes: ``recognizes(output, model)``: whether a network's own output, of any type, is one of this task.
            Of a tensor only the shape may be read: it holds no numbers.
        encode: ``encode(output, model)``: the network's own output as a tensor (N, …), which targets score. None for an
            output that cannot be of this task.
        targets: what users may write as a target, each form with its meaning.
        prefixes: how the texts begin that only this task has, for messages about them.
        hint: what a form shows as an example of a target, with ``{label}`` for the last label and ``{sample}`` for the
            address of a bundled input; empty for two labels, "A - B".
        target_label: what a form calls the field of a target.
        default_target: what is explained without a target, in a few words.
        question: the heading of a page that explains the best answer, ``{}``.
        default_question: the heading where no single row of the answer is explained.
        file_of: ``file_of(text)``: the file that a target of this task names; empty for other texts. Servers refuse it.
        parse: ``parse(text, model)``: the target that a text describes, or None if it is of no form of this task.
        class_scorer: ``class_scorer(indices, model)``: scores a class per image, the default target where an index
            is negative; it gives None where a class is a column of the output.
        class_scores: ``class_scores(output, model)``: the score of every class (N, classes), where a class is no column
            of the output; None where it is.
        labels_for: ``labels_for(outputs)``: how many labels an output of that many numbers has.
        predict: ``predict(model, images, rows, output, top)``: one value per image, from the outputs of the images
            ``rows``.
        meaning: the meaning of the output's values, where it follows from the task (engine/network/output_meaning).
        default_layer: ``default_layer(model, trace)``: the layer that CAM methods use by default, or None for the one
            that is found for every network.
        about_a_place: whether a target is about one of several places in a picture, such as one of the boxes in it.
    """

    name: str
    title: str
    output: str
    recognizes: Callable[[Any, Any], bool]
    encode: Callable[[Any, Any], Any]
    targets: Mapping[str, str]
    parse: Callable[[str, Any], Any]
    predict: Callable[..., list[Any]]
    prefixes: tuple[str, ...] = ()
    hint: str = ""
    target_label: str = "Or type a class, or A - B"
    default_target: str = "the best class"
    question: str = "Why did the model predict “{}”?"
    default_question: str = "Why did the model predict this?"
    file_of: Callable[[str], str] = field(default=lambda text: "")
    class_scorer: Callable[[Any, Any], Any] | None = None
    class_scores: Callable[[Any, Any], Any] | None = None
    labels_for: Callable[[int], int] = field(default=lambda outputs: outputs)
    meaning: str = ""
    default_layer: Callable[[Any, Any], str | None] = field(default=lambda model, trace: None)
    about_a_place: bool = False


def task_names() -> tuple[str, ...]:
    """The names of all tasks, read off the folder without importing anything."""
    files = (Path(__file__).parents[1] / "engine/targets/tasks").glob("*.py")
    return tuple(sorted(file.stem for file in files if not file.stem.startswith("_")))


TASKS: Table[Task] = Table(
    "task",
    f"there are {', '.join(task_names())}",
    lambda: (f"convscope.engine.targets.tasks.{name}" for name in task_names()),
)


def task(declaration: Task) -> Task:
    """Add a task to the table."""
    TASKS.add(declaration.name, declaration)
    return declaration
