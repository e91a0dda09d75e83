"""The task of a network: as specified for the model, else recognized by the shape and content of its output.

Outputs that are no tensors (dicts, lists of boxes) are recognized when they appear, and encoded as a tensor by their
task. Of a tensor the shape of the last output is kept, and its task follows from that, the meaning of its values and
the labels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.output_selection import unknown_output_message
from convscope.errors import InputError, OutputError, did_you_mean
from convscope.spec.tasks import TASKS, Task, task_names

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

_ORDER = ("detection", "segmentation", "regression", "embedding", "multilabel", "classification")
"""The order in which tasks are tried: `classification` takes every tensor.

No output shows by itself that its scores are cumulative, so that `ordinal` is only ever specified."""


@dataclass
class LastRun:
    """The shapes of the last input and output of a network, and the task of an output that was no tensor.

    Attributes:
        input: of the input without the batch; ``output`` of the encoded output with the batch.
        task: the name of the task; empty where the network gives a tensor.
        recognized: the task for each of the facts that it was derived from.
        keeps_own_output: whether the network's own output is kept, as ``own_output``.
    """

    input: tuple[int, ...] = ()
    output: tuple[int, ...] = ()
    task: str = ""
    recognized: dict[tuple[Any, ...], str] | None = None
    keeps_own_output: bool = False
    own_output: Any = None


LAST_RUN: CacheEntry[LastRun] = CacheEntry("last run", LastRun)
"""What the last forward showed; valid until the modules change."""


def check_task(name: Any) -> str:
    """The name of a task that a user wrote.

    Raises:
        InputError: there is no such task.
    """
    names = task_names()
    if name in names:
        return str(name)
    near = did_you_mean(name, names) if isinstance(name, str) else ""
    raise InputError(f"task must be one of {', '.join(names)}, got {name!r}{near}")


def find_task(name: str) -> Task:
    """The declaration of a task."""
    return TASKS.find(name)


@contextmanager
def keeping_own_output(model: "Model") -> Iterator[None]:
    """Keep the network's own output of the last run inside, of which targets score only the encoded part."""
    run = model.cache[LAST_RUN]
    run.keeps_own_output = True
    try:
        yield
    finally:
        run.keeps_own_output, run.own_output = False, None


def encode_output(output: Any, model: "Model", batch: int) -> Tensor:
    """A network's own output as the tensor that its task scores.

    Raises:
        OutputError: no task takes it; the message lists its parts.
    """
    names = _ORDER if not model.task_name else (model.task_name,)
    if model.cache[LAST_RUN].keeps_own_output:
        model.cache[LAST_RUN].own_output = output
    if isinstance(output, Tensor) and not model.task_name:
        model.cache[LAST_RUN].task = ""
        return output
    for name in names:
        declaration = find_task(name)
        if model.task_name or declaration.recognizes(output, model):
            encoded = declaration.encode(output, model)
            if encoded is not None and len(encoded) == batch:
                model.cache[LAST_RUN].task = name
                return encoded  # type: ignore[no-any-return]
    if isinstance(output, Tensor):
        declaration = find_task(model.task_name)
        raise OutputError(
            f"{model.name} gives a tensor of shape {tuple(output.shape)}, which is no output for "
            f"task={model.task_name!r}: this takes {declaration.output}"
        )
    raise OutputError(unknown_output_message(output, model.name))


def known_task(model: "Model") -> Task | None:
    """The task of a network; None where it was not specified and the network has not run yet."""
    if model.task_name:
        return find_task(model.task_name)
    run = model.cache[LAST_RUN]
    if run.task:
        return find_task(run.task)
    if not run.output:
        return None
    facts = (run.output[1:], run.input, model.meaning_of_values, len(model.labels or ()))
    run.recognized = run.recognized or {}
    if facts not in run.recognized:
        shape = torch.empty(run.output, device="meta", dtype=torch.float32)
        run.recognized[facts] = next(name for name in _ORDER if find_task(name).recognizes(shape, model))
    return find_task(run.recognized[facts])
