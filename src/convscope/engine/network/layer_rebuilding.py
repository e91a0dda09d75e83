"""Layers of ``torch.nn`` rebuilt from what a file keeps of them: their class, their tensors, their settings.

A file holds a layer as one operation and its arguments (exported, traced) or as a script with attributes. As a
``torch.nn.Conv2d`` it is what every rule, twin and count knows, and runs at the speed of the original.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def _words(text: str) -> list[str]:
    return text.split()


_AXES = ("1d", "2d", "3d")
_SAME_NAME = _words("""
    Sigmoid Tanh LogSigmoid Softsign Tanhshrink Softplus Hardshrink Softshrink Softmax LogSoftmax GELU PReLU
    Flatten Linear LayerNorm GroupNorm Threshold PixelShuffle PixelUnshuffle ChannelShuffle Unflatten
    RMSNorm LocalResponseNorm""")
_WITH_INPLACE = _words("""ReLU ReLU6 LeakyReLU ELU SELU CELU SiLU Mish Hardswish Hardsigmoid Hardtanh""")

_OPERATORS: dict[str, frozenset[str]] = {
    **{f"Conv{n}": frozenset({f"conv{n}", "convolution", "_convolution"}) for n in _AXES},
    **{f"ConvTranspose{n}": frozenset({f"conv_transpose{n}", "convolution", "_convolution"}) for n in _AXES},
    **{f"BatchNorm{n}": frozenset({"batch_norm"}) for n in _AXES},
    **{f"MaxPool{n}": frozenset({f"max_pool{n}"}) for n in _AXES},
    **{f"AvgPool{n}": frozenset({f"avg_pool{n}"}) for n in _AXES},
    **{f"AdaptiveAvgPool{n}": frozenset({f"adaptive_avg_pool{n}"}) for n in _AXES},
    **{name: frozenset({name.lower()}) for name in (*_SAME_NAME, *_WITH_INPLACE)},
    **{f"Dropout{n}": frozenset({"dropout", "feature_dropout"}) for n in ("", *_AXES)},
    "LeakyReLU": frozenset({"leaky_relu"}),
    "LogSoftmax": frozenset({"log_softmax"}),
    "LogSigmoid": frozenset({"log_sigmoid"}),
    "LayerNorm": frozenset({"layer_norm"}),
    "GroupNorm": frozenset({"group_norm"}),
    "RMSNorm": frozenset({"rms_norm"}),
    "ReLU6": frozenset({"relu6", "hardtanh"}),
    "PixelShuffle": frozenset({"pixel_shuffle"}),
    "PixelUnshuffle": frozenset({"pixel_unshuffle"}),
    "ChannelShuffle": frozenset({"channel_shuffle"}),
    "Identity": frozenset(),
}
"""By the class of a layer, the ATen operators that its forward may consist of."""

_LEFT_OUT = frozenset({"device", "dtype", "inplace", "bias", "affine", "elementwise_affine", "track_running_stats"})
"""Parameters of layers that follow from their tensors, or do not change what they compute."""


class NotRebuilt(Exception):
    """A layer whose settings are not all known, or that computes something else than its class."""


def layer_class(qualified_name: str) -> type[nn.Module] | None:
    """The class of ``torch.nn`` that a file names, if layers of it can be rebuilt."""
    package, _, name = qualified_name.rpartition(".")
    if not f"{package}.".startswith("torch.nn.modules.") or name not in _OPERATORS:
        return None
    layer: type[nn.Module] = getattr(nn, name)
    return layer


def computes(kind: type[nn.Module], operator: str) -> bool:
    """Whether an ATen operator is the forward of layers of a class."""
    return operator in _OPERATORS[kind.__name__] or operator.removesuffix("_") in _OPERATORS[kind.__name__]


_signature = functools.cache(inspect.signature)


def rebuild_layer(
    kind: type[nn.Module],
    tensors: Mapping[str, Tensor | None],
    setting: Callable[[str], Any],
    *,
    in_place: bool = False,
) -> nn.Module:
    """A layer of a class with given tensors and settings, in eval mode.

    Args:
        kind: a class that `layer_class` returned.
        tensors: the layer's parameters and buffers by name.
        setting: the value of a parameter of the class; KeyError where it is unknown.
        in_place: whether the layer overwrites its input.

    Raises:
        NotRebuilt: a setting is unknown, or the tensors are not those of such a layer.
    """
    present = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    arguments = _from_tensors(kind, present)
    try:
        for name in _parameters(kind):
            if name not in arguments and name not in _LEFT_OUT and name not in ("return_indices", "size_average"):
                arguments[name] = setting(name)
    except KeyError as error:
        raise NotRebuilt(f"{kind.__name__} without {error}") from error
    if in_place and "inplace" in _parameters(kind):
        arguments["inplace"] = True
    try:
        layer = kind(**arguments, device="meta") if "device" in _parameters(kind) else kind(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise NotRebuilt(f"{kind.__name__}: {error}") from error
    _set_tensors(layer, present)
    return layer.eval()


def _parameters(kind: type[nn.Module]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a class by name."""
    return _signature(kind).parameters  # type: ignore[arg-type] # classes are hashable, whatever their objects are


def _from_tensors(kind: type[nn.Module], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The parameters of a class that follow from the layer's tensors."""
    name, weight = kind.__name__, tensors.get("weight")
    accepted = _parameters(kind)
    flags = {"bias": "bias" in tensors, "affine": weight is not None, "elementwise_affine": weight is not None}
    arguments: dict[str, Any] = {flag: value for flag, value in flags.items() if flag in accepted}
    if name == "Linear" and weight is not None and weight.ndim == 2:
        arguments |= {"out_features": weight.shape[0], "in_features": weight.shape[1]}
    elif name.startswith("Conv") and weight is not None:
        arguments |= {"kernel_size": tuple(weight.shape[2:])}
    elif name.startswith("BatchNorm"):
        if "running_mean" not in tensors or "running_var" not in tensors:
            raise NotRebuilt(f"{name} without running statistics")
        arguments |= {"num_features": tensors["running_mean"].shape[0]}
    elif name == "GroupNorm" and weight is not None:
        arguments |= {"num_channels": weight.shape[0]}
    elif name == "PReLU" and weight is not None:
        arguments |= {"num_parameters": weight.numel(), "init": 0.25}
    if name == "LayerNorm" and weight is None:
        arguments.pop("bias", None)
    return arguments


def _set_tensors(layer: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put the tensors of the file in the place of the layer's own.

    Raises:
        NotRebuilt: the layer has other tensors, or of other shapes.
    """
    own = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    optional = {"num_batches_tracked"}
    wrong = [n for n in own if n in tensors and own[n].shape != tensors[n].shape]
    if wrong or {*own} - {*tensors} - optional or {*tensors} - {*own} - optional:
        raise NotRebuilt(f"{type(layer).__name__} with tensors {sorted(tensors)}")
    for name, tensor in tensors.items():
        if name in layer._parameters:
            parameter = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, tensor.is_floating_point())
            layer._parameters[name] = parameter
        elif name in layer._buffers:
            setattr(layer, name, tensor)
    if "num_batches_tracked" in own and "num_batches_tracked" not in tensors:
        layer._buffers["num_batches_tracked"] = tensors["running_mean"].new_zeros((), dtype=torch.long)
