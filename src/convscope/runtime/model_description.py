"""What an opened model is: its task, input, preprocessing, labels, layers, and what lenses can read of it."""

from dataclasses import asdict
from typing import Any

import torch

from convscope.engine.inputs.specs import ImageInput
from convscope.engine.network.model import Model
from convscope.engine.network.scores_only import scores_only_part
from convscope.errors import ConvScopeError

FIRST_LABELS = 5
"""The number of labels that a description repeats."""


def describe_model(model: Model) -> dict[str, Any]:
    """A model in plain data; the network runs once on random numbers, if the size of its input is known."""
    spec = model.input
    fields = {name: value for name, value in model.description()["input"].items() if name != "kind"}
    output, failure = _output_shape(model)
    labels = list(model.labels or ())
    scores_only = scores_only_part(model.module)
    return {
        "name": model.name,
        "source": model.source,
        "task": _task(model, output),
        "input": {"kind": "image" if isinstance(spec, ImageInput) else "prepared tensor", **fields},
        "targets": [form for form in (() if model.task is None else model.task.targets) if form],
        "output": {"shape": None if output is None else list(output), "meaning": str(model.meaning.describe())},
        "failure": failure,
        "labels": {"count": len(labels), "first": labels[:FIRST_LABELS]},
        "layers": len(model.layers()),
        "parameters": sum(parameter.numel() for parameter in model.module.parameters()),
        "available": ["scores"] if scores_only is not None else _available(model),
        "limited": "" if scores_only is None else scores_only.reason,
        "conversion": None if model.conversion is None else asdict(model.conversion),
        "caveats": [str(caveat) for caveat in model.caveats],
    }


def _output_shape(model: Model) -> tuple[tuple[int, ...] | None, str]:
    """The shape of the output without the batch, and why it is unknown."""
    try:
        with model.preserve_state(), torch.no_grad():
            return tuple(model.run(model.example()).shape[1:]), ""
    except ConvScopeError as error:
        return None, str(error)


def _task(model: Model, output: tuple[int, ...] | None) -> str:
    """What the network does, in words."""
    task = model.task
    if task is None or (output is None and not model.task_name):
        return "unknown until an input is given"
    if task.name == "regression" and output is not None and any(extent > 1 for extent in output[1:]):
        return "values at each position"
    if task.name == "classification" and output is not None and output[0] == 1 and len(model.labels or ()) < 2:
        return "one score"
    return task.title


def _available(model: Model) -> list[str]:
    """What lenses can use of a network of torch modules."""
    if model.quantized_part() is not None:
        return ["scores", "layers"]
    return ["scores", "layers", "gradients", *([] if model.scripted_part() else ["operations"])]
