"""Classes as targets: by index or label, and the scores of all classes in an output."""

from typing import TYPE_CHECKING

from torch import Tensor

from convscope.engine.network.output_meaning import two_class_scores
from convscope.errors import OutputError, UnknownName, did_you_mean

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


def class_index(label: int | str, model: "Model") -> int:
    """The class of that index or label.

    Raises:
        UnknownName: no such label, or several of that name.
    """
    if not isinstance(label, str):
        try:
            index = label.__index__()
        except (AttributeError, TypeError):
            raise UnknownName(f"a class is an index or a label, got {label!r}") from None
        if isinstance(label, bool) or index < 0 or (model.labels and index >= len(model.labels)):
            known = f"0 to {len(model.labels) - 1}" if model.labels else "0 or more"
            raise UnknownName(f"class index {label!r} is out of range: {model.name} has classes {known}")
        return index
    if label.strip().isdecimal() and label not in (model.labels or ()):
        return class_index(int(label), model)
    if model.labels is None:
        raise UnknownName(f"{model.name} has no labels: name the class {label!r} by its index")
    normalized = normalize_label(label)
    matches = [i for i, known in enumerate(model.labels) if normalize_label(known) == normalized]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UnknownName(f"label {label!r} is ambiguous: classes {' and '.join(map(str, matches))}; use the index")
    raise UnknownName(f"no label {label!r} in {model.name}{did_you_mean(label, model.labels, most=3)}")


def class_scores(output: Tensor, model: "Model") -> Tensor:
    """The score of every class (N, classes); a single output with two labels gives the opposite scores of both.

    Where a class is no column of the output, its task computes it.
    """
    task = model.task
    if task is not None and task.class_scores is not None:
        scores: Tensor = task.class_scores(output, model)
        return scores
    return with_both_sides(class_axis(output), model)


def with_both_sides(output: Tensor, model: "Model") -> Tensor:
    """An output (N, classes, …); a single output with two labels is expanded to the scores of both."""
    if output.shape[1] == 1 and len(model.labels or ()) == 2:
        return two_class_scores(output, model.meaning)
    return output


def class_axis(output: Tensor) -> Tensor:
    """The output as (N, classes); trailing axes of size one are dropped, larger ones need a `Region`."""
    if output.ndim > 2 and max(output.shape[2:]) == 1:
        output = output.flatten(1)
    if output.ndim == 2 and output.shape[1] == 0:
        raise OutputError(f"the output has shape {tuple(output.shape)}: there are no classes in it")
    if output.ndim != 2:
        raise OutputError(
            f"the output has shape {tuple(output.shape)}: a class needs a region, use cs.Region(label, mask)"
        )
    return output


def check_class(index: int, output: Tensor) -> None:
    """Raise an error if the output has no class of that index."""
    if index >= output.shape[1]:
        raise OutputError(f"class {index} is out of range: the output has {output.shape[1]} classes")


def normalize_label(label: str) -> str:
    """A label in lower case with single spaces, in which users need not write it exactly."""
    return " ".join(label.lower().replace("_", " ").split())
