"""What an opened model is: its task, input, preprocessing, labels, layers, and what lenses can read of it."""

from dataclasses import asdict
from typing import Any

import torch

from convscope.engine.inputs.named_inputs import NamedInputs
from convscope.engine.inputs.specs import ImageInput, InputSpec
from convscope.engine.inputs.table_input import TableInput
from convscope.engine.inputs.token_input import TokenInput
from convscope.engine.network.model import Model
from convscope.engine.network.scores_only import scores_only_part
from convscope.errors import ConvScopeError, OutputError
from convscope.runtime.several_inputs import example_output

_NAMED_KINDS = (TableInput, TokenInput)
"""Specifications that say in a word what they take."""
FIRST_LABELS = 5
"""The number of labels that a description repeats."""


def describe_model(model: Model) -> dict[str, Any]:
    """A model in plain data; the network runs once on random numbers, if the size of its input is known.

    Raises:
        OutputError: the output is not what the address says: it has no such part, task or number of labels.
    """
    spec = model.input
    fields = {name: value for name, value in model.description()["input"].items() if name != "kind"}
    if isinstance(spec, NamedInputs):
        fields = {name: _short(part) for name, part in (spec.specs or {}).items()}
    if isinstance(spec, TokenInput):
        fields["vocabulary"] = spec.size
    output, failure = _output_shape(model)
    labels = list(model.labels or ())
    scores_only = scores_only_part(model.module)
    return {
        "name": model.name,
        "source": model.source,
        "task": _task(model, output),
        "input": {"kind": _input_kind(spec), **fields},
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


def _input_kind(spec: InputSpec) -> str:
    if isinstance(spec, NamedInputs):
        return "several inputs"
    return (
        "image" if isinstance(spec, ImageInput) else spec.kind if isinstance(spec, _NAMED_KINDS) else "prepared tensor"
    )


def _short(spec: InputSpec) -> str:
    """One of several inputs: its kind and its shape."""
    shape = (spec.channels, *spec.size) if isinstance(spec, ImageInput) else spec.shape  # type: ignore[misc]
    kind = "table" if isinstance(spec, TableInput) else spec.kind or "prepared tensor"
    return f"{kind} {'×'.join(map(str, shape))}" if shape else kind


def _output_shape(model: Model) -> tuple[tuple[int, ...] | None, str]:
    """The shape of the output without the batch, and why it is unknown."""
    try:
        with model.preserve_state(), torch.no_grad():
            output = model.run(model.example()) if model.binding is None else example_output(model)
            return tuple(output.shape[1:]), ""
    except ConvScopeError as error:
        if isinstance(error, OutputError) and _describes_output(model):
            raise
        return None, str(error)


def _describes_output(model: Model) -> bool:
    """Whether the address says what the output is, by ``?output=``, ``?task=`` or ``?labels=``."""
    return isinstance(model.output, (str, int)) or bool(model.labels_from) or "task=" in (model.source or "")


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
