"""From what a caller passes to prepared batches in the precision and on the device of a network."""

import functools
import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.engine.context.run_context import current
from convscope.engine.inputs.measured_inputs import MeasuredInput
from convscope.engine.inputs.named_inputs import NamedImages, NamedInputs, prepare_named
from convscope.engine.inputs.preparation import read_images
from convscope.engine.inputs.raw_input import planned_by
from convscope.engine.inputs.specs import ImageInput, Images, InputSpec
from convscope.engine.inputs.token_input import TokenInput
from convscope.engine.network.forward_memory import require_memory_of_forward
from convscope.engine.network.input_dtype import input_dtype
from convscope.errors import InputError, ModelFailed

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


def prepare_input(model: "Model", image: Any) -> Images:
    """Paths, pictures, arrays or tensors as a prepared batch on the device of the network."""
    if isinstance(image, Images):
        return image
    if first_float_tensor(model) is None and isinstance(image, Tensor):  # only the input has a dtype and a device
        return read_images(image, model.input, device=image.device, dtype=image.dtype)
    device = model.device
    if isinstance(model.input, TokenInput):  # token numbers, which small dtypes would round
        return read_images(image, model.input, device=device, dtype=torch.float32)

    def read(dtype: torch.dtype) -> Images:
        with planned_by(functools.partial(_require_memory, model)):
            return read_images(image, model.input, device=device, dtype=dtype)

    return read(input_dtype(model.module, lambda dtype: _accepts(model, read(dtype).tensor)) or torch.float32)


def _require_memory(model: "Model", shape: tuple[int, ...]) -> None:
    """Refuse a file of this shape, of which only the header was read, for which a pass of the network has no memory."""
    spec = model.input
    if not isinstance(spec, MeasuredInput) or len(shape) not in (len(spec.axes), len(spec.axes) + 1):
        return
    with_channels = shape if len(shape) > len(spec.axes) else (spec.channels or 1, *shape)
    extent = spec.shape or with_channels
    without_memory = torch.empty(1, device=model.device, dtype=torch.float32).expand(1, *extent)
    gradients = current().differentiates_to_input
    require_memory_of_forward(model, without_memory, gradients=gradients, frozen=True)


def prepare_samples(model: "Model", given: Any) -> NamedImages:
    """Samples of several inputs as prepared batches by name on the device of the network.

    Raises:
        InputError: the number or the names of the inputs do not fit, or there are more of one than of another.
    """
    if isinstance(given, NamedImages):
        return given
    assert isinstance(model.input, NamedInputs), "callers have checked that there are several inputs"

    def prepare(value: Any, spec: InputSpec) -> Images:
        dtype = torch.float32 if isinstance(spec, TokenInput) else model.dtype
        return read_images(value, spec, device=model.device, dtype=dtype)

    return prepare_named(given, model.input, prepare)


def example_input(model: "Model") -> Tensor:
    """One random prepared input (1, C, …) of the size that the network expects.

    Raises:
        InputError: the size of an input is unknown.
    """
    spec = model.input
    shape = (spec.channels, *spec.size) if isinstance(spec, ImageInput) else spec.shape  # type: ignore[misc]
    if shape is None:
        raise InputError(
            f"the input shape of {model.name} is unknown: pass an image, or specify it with "
            "input=cs.ImageInput(size=…) or input=cs.TensorInput(shape=…)"
        )
    generator = torch.Generator().manual_seed(0)
    if isinstance(spec, TokenInput):
        return torch.randint(spec.size, (1, *shape), generator=generator, device="cpu").float().to(model.device)
    noise = torch.randn(1, *shape, generator=generator, dtype=torch.float32, device="cpu")  # no branch is inactive
    noise = noise.to(model.device)
    return noise.to(input_dtype(model.module, lambda dtype: _accepts(model, noise.to(dtype))) or torch.float32)


def first_float_tensor(model: "Model") -> Tensor | None:
    """The first floating-point parameter or buffer of the network; None if it has none."""
    tensors = itertools.chain(model.module.parameters(), model.module.buffers())
    return next((tensor for tensor in tensors if tensor.is_floating_point()), None)


def _accepts(model: "Model", tensor: Tensor) -> bool:
    """Whether the network runs on the first input, or on all of them together."""
    with model.preserve_state(), torch.no_grad():
        for inputs in (tensor[:1], tensor):
            try:
                model.run_module(inputs.clone())
            except ModelFailed:
                continue
            return True
    return False
