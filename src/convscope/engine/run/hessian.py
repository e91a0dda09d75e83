"""Second derivatives at layers: the product of the Hessian with the activation, by one more backward pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.context.metering import count_passes
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.layer_trace import as_feature_map, layout_of
from convscope.engine.network.hooks import capture
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import gradients_of, note_gradient_use, read_out
from convscope.engine.targets.target import Target

Utility = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(output, scores, rows) -> numbers``: what is differentiated instead of the scores, one number per image."""


@dataclass(frozen=True)
class SecondDerivatives:
    """One layer's activation A, the gradient with respect to it, and the Hessian times A; (N, C, …) each."""

    activation: Tensor
    gradient: Tensor
    hessian_times_activation: Tensor


def second_derivatives(
    model: Model, images: Images, target: Target, layers: Sequence[str], utility: Utility
) -> dict[str, SecondDerivatives]:
    """Activations and the first two derivatives of ``utility`` at ``layers``, for all images."""
    note_gradient_use()
    parts: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {address: [] for address in layers}

    def step(rows: Tensor) -> None:
        tensor = model.input_copy(rows_of(images.tensor, rows))
        for address, tensors in zip(layers, _derivatives(model, tensor, target, rows, layers, utility), strict=True):
            maps = (as_feature_map(model, address, tensor, each.detach()).float() for each in tensors)
            parts[address].append(tuple(maps))  # type: ignore[arg-type]

    in_chunks(len(images), images.tensor[0], step)
    return {address: SecondDerivatives(*map(torch.cat, zip(*chunks, strict=True))) for address, chunks in parts.items()}


def _derivatives(
    model: Model, tensor: Tensor, target: Target, rows: Tensor, layers: Sequence[str], utility: Utility
) -> list[tuple[Tensor, Tensor, Tensor]]:
    with torch.no_grad(), _TwiceDifferentiableAttention(), capture(model.module, layers, differentiable=True) as caught:
        if target.layer is not None:
            caught.unreached_reason = f", which ends at the target's own layer {target.layer!r}"
        output = read_out(model, tensor, target)
        utilities = utility(output, target.score(output, rows), rows)
        activations = [caught[address] for address in layers]
        gradients = gradients_of(utilities, activations, model, create_graph=True)
        directions = [_on_the_map(model, address, tensor, a) for address, a in zip(layers, activations, strict=True)]
        return [(a, g, _hessian_times(a, g, v)) for a, g, v in zip(activations, gradients, directions, strict=True)]


class _TwiceDifferentiableAttention(TorchFunctionMode):
    """Computes fused attention from products and a softmax: the fused kernels have no second derivative."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is F.multi_head_attention_forward and not kwargs.get("need_weights", True):
            return func(*args, **kwargs | {"need_weights": True})[0], None
        if func is not F.scaled_dot_product_attention or kwargs.get("enable_gqa"):
            return func(*args, **kwargs)
        kwargs.pop("enable_gqa", None)
        return torch.ops.aten._scaled_dot_product_attention_math(*args, **kwargs)[0]


def _on_the_map(model: Model, address: str, tensor: Tensor, activation: Tensor) -> Tensor:
    """The activation, zero outside the map: class tokens and registers are left out."""
    layout, activation = layout_of(model, address, tensor), activation.detach()
    if not layout.has_positions:
        return activation
    return layout.from_images(layout.from_map(layout.to_map(activation), torch.zeros_like(activation)))


def _hessian_times(activation: Tensor, gradient: Tensor, direction: Tensor) -> Tensor:
    """The derivative of ``gradient`` in a direction of the activation; zero where the rest of the network is linear."""
    if not gradient.requires_grad:
        return torch.zeros_like(gradient)
    count_passes(backwards=len(activation))
    (product,) = torch.autograd.grad(gradient, activation, direction, retain_graph=True, allow_unused=True)
    return torch.zeros_like(gradient) if product is None else product
