"""What is said where a network's own forward raised: at which layer, and of a size that does not fit, what to do.

The layer is read from the traceback: it is the innermost module of the network whose method raised.
"""

import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from convscope.engine.network.scripted_modules import FIXED_SIZE, is_exported, is_unflattened
from convscope.errors import InputNotAccepted, ModelFailed

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

_AXES = {1: ("time",), 2: ("height", "width"), 3: ("depth", "height", "width")}
"""The names of the axes after the channels, where the input specification names none."""
_CUT = (
    r"padded input size per channel: \((?P<left>[^)]*)\)\. Kernel size: \((?P<kernel>[^)]*)\)\. Kernel size can't be",
    r"Given input size: \(\d+x(?P<left>[^)]*)\)\. Calculated output size: .* Output size is too small",
    r"input image \((?P<left>[^)]*)\) smaller than kernel size \((?P<kernel>[^)]*)\)",
    r"max_pool1d\(\) Invalid computed output size",
    r"Padding size should be less than the corresponding input dimension",
    r"Expected more than 1 spatial element",
    r"Input and output sizes should be greater than 0",
    r"Expected input's non-batch dimensions to have positive length",
    r"with optional 0 dim batch size for input, but got:\[.*\b0\b",
)
"""Messages of PyTorch of an input that is too small for a convolution, a pooling, a padding or a norm."""
_UNKNOWN_TOKEN = "index out of range in self"
_OTHER_SIZE = ("differs in more than the batch", "doesn't match model (", "Wrong image height!", "Wrong image width!")
"""Of a file whose shapes hold for one size, of transformers and timm, and of torchvision."""
_HINTS = {
    **dict.fromkeys(_OTHER_SIZE, "it takes inputs of one size: pass the size that it was made for"),
    _UNKNOWN_TOKEN: "an embedding has no vector of this number, pass the vocabulary of the network",
    "mat1 and mat2 shapes cannot be multiplied": "this layer takes inputs of one size: pass the size that the network "
    "was made for",
    "Sizes of tensors must match except": "maps of different sizes meet here: pass an input whose sides are multiples "
    "of the network's stride",
}
"""What to do about messages of PyTorch that do not say it."""


@dataclass(frozen=True)
class _Shortage:
    """What a message of PyTorch says of an input that is too small: what is left of it, and the size that is needed."""

    left: str
    kernel: str


def forward_failure(model: "Model", shape: tuple[int, ...], error: Exception) -> ModelFailed:
    """What is raised in place of an exception of the network's forward on an input of this shape.

    Example:
        >>> import torch, convscope as cs
        >>> network = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 5), torch.nn.Conv1d(2, 2, 9))
        >>> str(forward_failure(cs.Model(network), (1, 1, 12), ValueError("no")))
        'Sequential raised ValueError on input (1, 1, 12): no'
    """
    layer, shortage = failed_layer(model.module, error), _shortage(str(error))
    if shortage is not None:
        return InputNotAccepted(_too_small(model, shape, layer, shortage))
    where = f"in layer {layer!r}: " if layer else ""
    reason = _reason(model.module, error)
    is_refused = any(words in reason for words in (_UNKNOWN_TOKEN, FIXED_SIZE, *_OTHER_SIZE))
    kind = InputNotAccepted if is_refused else ModelFailed
    return kind(f"{model.name} raised {type(error).__name__} on input {shape}: {where}{reason}")


def failed_layer(network: nn.Module, error: Exception) -> str:
    """The address of the innermost layer in which an exception was raised; empty if that is the network itself."""
    names = {id(module): name for name, module in network.named_modules()}
    owners = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
    layers = [names[id(owner)] for owner in owners if id(owner) in names]
    return layers[-1] if layers else ""


def _shortage(message: str) -> _Shortage | None:
    """What a message says of an input that is too small; None if it is about something else."""
    match = next((match for pattern in _CUT if (match := re.search(pattern, message))), None)
    if match is None:
        return None
    sizes = match.groupdict()
    return _Shortage(*(_times(re.findall(r"\d+", sizes.get(name, ""))) for name in ("left", "kernel")))


def _times(sizes: Iterable[object]) -> str:
    return " × ".join(map(str, sizes))


def _too_small(model: "Model", shape: tuple[int, ...], layer: str, shortage: _Shortage) -> str:
    """The sentence for an input that is too small: its size, the layer at which it vanishes, what to do."""
    spec, tokens = model.input, getattr(model.input, "kind", "") == "tokens"
    axes = getattr(spec, "axes", ()) or _AXES.get(len(shape) - 2, ())
    names = " × ".join(axes)
    size = _times(shape[1:] if tokens else shape[2:]) + (" tokens" if tokens else f" ({names})" if names else "")
    small, larger = ("short", "longer") if tokens or len(axes) == 1 else ("small", "larger")
    where = f"layer {layer!r}" if layer else "a step of its own forward"
    left = f", where {shortage.left} is left" if shortage.left else ""
    needed = f" and the kernel covers {shortage.kernel}" if shortage.kernel else ""
    fixed = next((name for name in ("size", "length", "shape") if getattr(spec, name, None) is not None), "")
    how = f" (its input specification says {fixed}={getattr(spec, fixed)!r})" if fixed else ""
    return (
        f"an input of {size} is too {small} for {model.name}: nothing remains of it at {where}{left}{needed}; "
        f"pass a {larger} one{how}"
    )


def _reason(network: nn.Module, error: Exception) -> str:
    """The message of a network's exception: the last line of a script's, a remedy where PyTorch gives none."""
    message = str(error)
    if "TorchScript" in message:
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        message = lines[-1].removeprefix("RuntimeError: ")
    wrong_size = "Guard failed" in message or "dynamic_shapes" in message
    if wrong_size and any(is_exported(m) or is_unflattened(m) for m in network.modules()):
        message = message.partition(". If you meant")[0]
        message += f"; {FIXED_SIZE}"
    remedy = next((remedy for words, remedy in _HINTS.items() if words in message), "")
    return f"{message.rstrip('.!')}: {remedy}" if remedy else message
