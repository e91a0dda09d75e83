"""Second derivatives at layers, as the product of the Hessian with the activation: one backward more, no matrix."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.context.metering import count_passes
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.trace import layout_of, map_at
from convscope.engine.network.hooks import capture
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import gradients_of, note_gradient_use, read_out
from convscope.engine.targets.target import Aim

Utility = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(output, scores, rows) -> numbers``: what is differentiated in place of the scores, one number per image."""


@dataclass(frozen=True)
class Curved:
    """One layer's activation A, the gradient there, and the Hessian times A; (N, C, …) each."""

    activation: Tensor
    gradient: Tensor
    bend: Tensor


def curved_evidence(
    model: Model, images: Images, aim: Aim, layers: Sequence[str], utility: Utility
) -> dict[str, Curved]:
    """Activations and both derivatives of ``utility`` at ``layers``, for all images."""
    note_gradient_use()
    parts: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {address: [] for address in layers}

    def step(rows: Tensor) -> None:
        tensor = model.laid_out(rows_of(images.tensor, rows))
        for address, found in zip(layers, _derivatives(model, tensor, aim, rows, layers, utility), strict=True):
            maps = (map_at(model, address, tensor, each.detach()).float() for each in found)
            parts[address].append(tuple(maps))  # type: ignore[arg-type]

    in_chunks(len(images), images.tensor[0], step)
    return {address: Curved(*map(torch.cat, zip(*found, strict=True))) for address, found in parts.items()}


def _derivatives(
    model: Model, tensor: Tensor, aim: Aim, rows: Tensor, layers: Sequence[str], utility: Utility
) -> list[tuple[Tensor, Tensor, Tensor]]:
    with torch.no_grad(), capture(model.module, layers, differentiable=True) as caught:
        if aim.layer is not None:
            caught.ended = f", which ends at the target's own layer {aim.layer!r}"
        output = read_out(model, tensor, aim)
        found = utility(output, aim.score(output, rows), rows)
        activations = [caught[address] for address in layers]
        gradients = gradients_of(found, activations, model, create_graph=True)
        along = [_of_the_map(model, address, tensor, a) for address, a in zip(layers, activations, strict=True)]
        return [(a, g, _hessian_times(a, g, v)) for a, g, v in zip(activations, gradients, along, strict=True)]


def _of_the_map(model: Model, address: str, tensor: Tensor, activation: Tensor) -> Tensor:
    """The activation with zeros where no position of the map is: class tokens and registers take no part."""
    layout, activation = layout_of(model, address, tensor), activation.detach()
    if not layout.has_places:
        return activation
    return layout.joined(layout.from_map(layout.to_map(activation), torch.zeros_like(activation)))


def _hessian_times(activation: Tensor, gradient: Tensor, along: Tensor) -> Tensor:
    """The derivative of ``gradient`` along a change of the activation; zero where the network is linear above."""
    if not gradient.requires_grad:
        return torch.zeros_like(gradient)
    count_passes(backwards=len(activation))
    (bend,) = torch.autograd.grad(gradient, activation, along, retain_graph=True, allow_unused=True)
    return torch.zeros_like(gradient) if bend is None else bend
