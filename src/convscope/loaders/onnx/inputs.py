"""The inputs of a graph: which one is the network's, which are fixed, and how images are prepared for it."""

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.errors import LoadError
from convscope.loaders.onnx.reading import StoredModel
from convscope.loaders.onnx.tensors import STRING_TYPE, torch_dtype
from convscope.values.formatting import format_list

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import InputSpec

MAX_INPUT_ELEMENTS = 2**26
"""The largest input: 256 MiB of float32."""
_USUAL_EXTENTS = {3: (16_000,), 4: (224, 224), 5: (16, 112, 112)}
"""By the number of axes, the spatial extents of an input whose own are not fixed."""
_IMAGE_CHANNELS = (1, 3)
_MAX_LABELS_TEXT = 2**20


@dataclass(frozen=True)
class GraphInput:
    """The input of a graph that is explained.

    Attributes:
        name: its name in the graph.
        dtype: the type of its elements in the graph.
        shape: the shape of one sample as the network takes it, channels first.
        batch_size: for how many samples the graph was exported; None for any number.
        channels_last: whether the graph takes the channels as the last axis.
        fixed: by name, what the other inputs always are.
        has_fixed_shape: whether the graph takes samples of this shape alone.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    batch_size: int | None
    channels_last: bool
    fixed: Mapping[str, Tensor]
    has_fixed_shape: bool

    def examples(self, count: int) -> Tensor:
        """Random inputs (count, …) of the network, the same ones each time."""
        generator = torch.Generator().manual_seed(0)
        values = torch.rand(count, *self.shape, generator=generator, dtype=torch.float32, device="cpu")
        if self.dtype.is_floating_point:
            return values.to(self.dtype)
        return (values * 255).round()

    def for_graph(self, inputs: Tensor) -> Tensor:
        """Inputs of the network as the graph takes them."""
        return inputs.movedim(1, -1) if self.channels_last else inputs


def read_input(stored: StoredModel, shape: str | None, fixed: str | None) -> GraphInput:
    """The input of a file that is explained.

    Args:
        stored: the file's content.
        shape: the shape of one sample as text, such as ``3x224x224``, where the graph leaves it open.
        fixed: the values of other inputs as text, such as ``state:0;sr:16000``.

    Raises:
        LoadError: the graph has no input or several, or one that is not made of numbers.
    """
    graph = stored.proto.graph
    weights = {tensor.name for tensor in graph.initializer}
    required = [info for info in graph.input if info.name not in weights]
    for info in required:
        _check_type(stored, info)
    constants = _parse_fixed(stored, required, fixed)
    constants |= {info.name: _zeros(info) for info in required if _is_state(graph, info.name)}
    free = [info for info in required if info.name not in constants]
    if len(free) != 1:
        raise LoadError(_not_one_input(stored, required, free))
    declared = _declared_shape(free[0])
    dtype = torch_dtype(free[0].type.tensor_type.elem_type, f"the input {free[0].name!r}")
    fixed_shape = shape is not None or (declared is not None and 0 not in declared[1:])
    batch, *extents = _complete(stored, declared, shape)
    channels_last = len(extents) == 3 and extents[-1] in _IMAGE_CHANNELS and extents[0] not in _IMAGE_CHANNELS
    extents = [extents[-1], *extents[:-1]] if channels_last else extents
    if not dtype.is_floating_point and len(extents) < 3:
        raise LoadError(
            f"{str(stored.path)!r} takes whole numbers of shape {_as_text(declared)}, such as words: ConvScope "
            "explains networks for images, signals and volumes"
        )
    return GraphInput(free[0].name, dtype, tuple(extents), batch or None, channels_last, constants, fixed_shape)


def _check_type(stored: StoredModel, info: Any) -> None:
    """Refuse inputs that are no tensors of numbers."""
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        given = (kind or "unknown_type").removesuffix("_type")
        raise LoadError(
            f"{str(stored.path)!r} takes a {given} as its input {info.name!r}: only tensors can be explained"
        )
    if info.type.tensor_type.elem_type == STRING_TYPE:
        raise LoadError(f"{str(stored.path)!r} takes texts as its input {info.name!r}: only numbers can be explained")


def _declared_shape(info: Any) -> list[int] | None:
    """The extents of an input, 0 where one is open; None if not even their number is known."""
    tensor = info.type.tensor_type
    return [max(dim.dim_value, 0) for dim in tensor.shape.dim] if tensor.HasField("shape") else None


def _as_text(shape: Sequence[int] | None) -> str:
    return "(any)" if shape is None else f"({', '.join(str(extent or '?') for extent in shape)})"


def _complete(stored: StoredModel, declared: list[int] | None, given: str | None) -> list[int]:
    """The batch size (0 for any) and the extents of one sample."""
    if given is not None:
        extents = _parse_shape(given)
        fits = declared is None or (
            len(declared) == len(extents) + 1 and all(d in (0, n) for d, n in zip(declared[1:], extents, strict=True))
        )
        if not fits:
            raise LoadError(
                f"?shape={given} does not fit the input of {str(stored.path)!r}, which is {_as_text(declared)}"
            )
        result = [0 if declared is None else declared[0], *extents]
    elif declared is None or len(declared) < 2:
        raise LoadError(
            f"{str(stored.path)!r} takes an input of shape {_as_text(declared)}: say which shape one sample has, as in "
            "?shape=3x224x224"
        )
    else:
        result = _with_usual_extents(stored, declared)
    if math.prod(result[1:]) > MAX_INPUT_ELEMENTS or not all(result[1:]):
        raise LoadError(f"{str(stored.path)!r} takes inputs of shape {_as_text(result)}, which do not fit into memory")
    return result


def _with_usual_extents(stored: StoredModel, declared: list[int]) -> list[int]:
    """A shape whose open extents are the usual ones."""
    usual = _USUAL_EXTENTS.get(len(declared))
    if usual is None and 0 in declared[1:]:
        raise LoadError(
            f"{str(stored.path)!r} takes an input of shape {_as_text(declared)}: say which shape one sample has, as in "
            "?shape=512"
        )
    last = len(declared) == 4 and declared[-1] in _IMAGE_CHANNELS and declared[1] not in _IMAGE_CHANNELS
    defaults = [*(usual or ()), 3] if last else [3 if len(declared) > 3 else 1, *(usual or ())]
    open_extents = zip(declared[1:], defaults, strict=False)
    return [declared[0], *(own or default for own, default in open_extents), *declared[1 + len(defaults) :]]


def _parse_shape(text: str) -> list[int]:
    try:
        extents = [int(part) for part in text.lower().replace("×", "x").replace(",", "x").split("x")]
    except ValueError:
        extents = []
    if not extents or min(extents) < 1:
        raise LoadError(f"?shape={text} is not of the form 3x224x224 (the shape of one sample, without the batch)")
    return extents


def _parse_fixed(stored: StoredModel, required: Sequence[Any], text: str | None) -> dict[str, Tensor]:
    """The values of inputs that are fixed, as tensors of their shape."""
    by_name = {info.name: info for info in required}
    constants: dict[str, Tensor] = {}
    for part in filter(None, (text or "").split(";")):
        name, _, value = part.rpartition(":")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isnan(number) or name not in by_name:
            names = format_list([*by_name])
            raise LoadError(
                f"?fixed={text} is not of the form NAME:NUMBER;… with inputs of {str(stored.path)!r} ({names})"
            )
        constants[name] = _filled(by_name[name], number, text)
    return constants


def _filled(info: Any, number: float, text: str | None) -> Tensor:
    """A tensor of an input's shape and dtype with one number in all places.

    Raises:
        LoadError: the dtype does not hold this number.
    """
    zeros = _zeros(info)
    if zeros.dtype.is_floating_point:
        return zeros.fill_(number)
    limits = (0, 1) if zeros.dtype is torch.bool else (torch.iinfo(zeros.dtype).min, torch.iinfo(zeros.dtype).max)
    if not limits[0] <= number <= limits[1] or number != int(number):
        given = str(zeros.dtype).removeprefix("torch.")
        raise LoadError(f"?fixed={text} sets {info.name!r}, which takes {given}: {number:g} is none")
    return zeros.fill_(int(number))


def _zeros(info: Any) -> Tensor:
    """Zeros of an input's shape, with extent 1 where that is open."""
    shape = [extent or 1 for extent in _declared_shape(info) or []]
    if math.prod(shape) > MAX_INPUT_ELEMENTS:
        raise LoadError(f"the input {info.name!r} of shape {_as_text(shape)} does not fit into memory")
    dtype = torch_dtype(info.type.tensor_type.elem_type, f"the input {info.name!r}")
    return torch.zeros(shape, dtype=dtype, device="cpu")


def _is_state(graph: Any, name: str) -> bool:
    """Whether an input is only read as the initial state of recurrent layers, which is zero by default."""
    readers = [(node.op_type, list(node.input).index(name)) for node in graph.node if name in node.input]
    return bool(readers) and all(kind in ("LSTM", "GRU", "RNN") and place in (5, 6) for kind, place in readers)


def _not_one_input(stored: StoredModel, required: Sequence[Any], free: Sequence[Any]) -> str:
    if not required:
        return f"{str(stored.path)!r} takes no input: there is nothing to explain"
    if not free:
        return f"?fixed= sets all inputs of {str(stored.path)!r}: leave out the one that is to be explained"
    listed = format_list([f"{info.name} {_as_text(_declared_shape(info))}" for info in free])
    others = ";".join(f"{info.name}:0" for info in free[1:17])
    return (
        f"{str(stored.path)!r} takes {len(free)} inputs ({listed}), and one can be explained: set the others to a "
        f"number, as in ?fixed={others}"
    )


def input_specification(stored: StoredModel, graph_input: GraphInput, outputs: int | None) -> "tuple[InputSpec, str]":
    """How inputs are prepared, and as for which networks where that is an assumption.

    Args:
        stored: the file's content.
        graph_input: the input.
        outputs: the number of classes, where the output looks like scores.
    """
    from convscope.engine.inputs.specs import ImageInput, TensorInput

    shape = graph_input.shape
    if len(shape) != 3 or shape[0] not in _IMAGE_CHANNELS:
        return TensorInput(shape=shape if len(shape) > 1 else None), ""
    size, channels = shape[1:], shape[0]
    pixels = _metadata(stored).get("Image.NominalPixelRange", "")
    if not graph_input.dtype.is_floating_point or pixels == "NominalRange_0_255":
        return ImageInput(size=size, channels=channels, mean=(0.0,) * channels, std=(1 / 255,) * channels), ""
    if pixels == "Normalized_0_1":
        return ImageInput(size=size, channels=channels), ""
    if channels == 3 and outputs in (1000, 1001):
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        resize = round(min(size) * 256 / 224)
        return ImageInput(size=size, mean=mean, std=std, resize=resize), "networks trained on ImageNet"
    return ImageInput(size=size, channels=channels), "networks that take pixels in 0 … 1"


def read_labels(stored: StoredModel) -> Any:
    """The names of the classes, where the file's metadata hold them as a Python list or dictionary; else None."""
    text = _metadata(stored).get("names", "")
    if not 0 < len(text) < _MAX_LABELS_TEXT:
        return None
    try:
        names = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(names, dict) and all(isinstance(k, int) and isinstance(v, str) for k, v in names.items()):
        return names if sorted(names) == list(range(len(names))) else None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _metadata(stored: StoredModel) -> dict[str, str]:
    return {entry.key: entry.value for entry in stored.proto.metadata_props}
