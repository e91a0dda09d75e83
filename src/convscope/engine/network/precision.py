"""Runs of many passes in bfloat16, on a copy of the network, so that the network itself does not change.

A bfloat16 network runs up to twice as fast on processors with bfloat16 arithmetic; autocast does not, since it casts
the weights at every call. Batch norms keep their float32 statistics until they are folded.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import torch
from torch import nn

from convscope.engine.network.memory_format import copy_findings
from convscope.engine.network.model import Model
from convscope.errors import ParameterError
from convscope.spec import Param

Precision = Annotated[
    Literal["float32", "bfloat16"],
    Param(help="float32 keeps the network's own precision; bfloat16 is faster on processors that support it"),
]


@contextmanager
def in_precision(model: Model, precision: str) -> Iterator[Model]:
    """The model to run: the model itself, or a temporary copy in bfloat16.

    Raises:
        ParameterError: the processor has no bfloat16 arithmetic, or the network cannot be copied.
    """
    if precision == "float32":
        yield model
        return
    if not has_bfloat16(model.device):
        raise ParameterError(
            "precision must be 'float32' on this processor: it has no bfloat16 arithmetic and would only be slower"
        )
    network = _in_bfloat16(model.module)
    copy_findings(network, model.module)
    converted = Model(network, input=model.input, output=model.output, name=model.name)
    if model.binding is not None:
        converted = converted.bound(model.binding, model.input, converted.cache)
    converted.copy_meanings_from(model)
    yield converted


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _in_bfloat16(module: nn.Module) -> nn.Module:
    try:
        network = copy.deepcopy(module)
    except Exception as error:
        raise ParameterError(
            f"precision must be 'float32' for this network: bfloat16 needs a copy of it, and copying "
            f"raised {type(error).__name__}: {error}"
        ) from error
    volumetric = any(p.ndim == 5 for p in network.parameters())
    network.to(torch.bfloat16, memory_format=torch.preserve_format if volumetric else torch.channels_last)  # type: ignore[call-overload]
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.float()
    return network
