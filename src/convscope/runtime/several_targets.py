"""One call for several targets of each image, computed as one batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from convscope.engine.network.model import as_model
from convscope.errors import ParameterError
from convscope.spec import LensSpec
from convscope.values import Value

Call = Callable[[LensSpec, dict[str, Any]], Any]


def for_each_target(declaration: LensSpec, arguments: Mapping[str, Any], call: Call) -> list[Any]:
    """The values for every target: a list for one image, a list of lists for several.

    Every image is repeated once for each of its targets, and all of them form one batch.

    Raises:
        ParameterError: the lens explains no target, both ``target`` and ``targets`` are given, or no target is.
    """
    if not (declaration.takes_target and declaration.each_image):
        raise ParameterError(f"{declaration.command} explains no target of its images: leave targets out")
    if arguments.get("target") is not None:
        raise ParameterError("target explains one score and targets several: give one of them")
    targets = arguments["targets"]
    if isinstance(targets, str) or not isinstance(targets, Sequence) or not targets:
        raise ParameterError(f"targets is a list of targets, as in targets=['cat', 'dog'], got {targets!r}")
    model = as_model(arguments["model"])
    images = model.prepare(arguments["image"])
    count = len(targets)
    rows = torch.arange(len(images), device="cpu").repeat_interleave(count)
    copies = replace(
        images, tensor=images.tensor[rows], names=tuple(images.names[row] for row in rows.tolist()), single=False
    )
    other_arguments = {name: value for name, value in arguments.items() if name != "targets"}
    values: list[Value] = call(declaration, {**other_arguments, "image": copies, "target": [*targets] * len(images)})
    grouped = [values[first : first + count] for first in range(0, len(values), count)]
    return grouped[0] if images.single else grouped
