"""Attribution to the units of one layer: gradients there, along paths of the input or of the layer itself.

Contributions are formed in the shape of the layer's output, so that class tokens and registers count, and are arranged
as units and positions at the end.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.engine.context.chunking import in_chunks
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import Layers, UnitAddress, select_unit
from convscope.engine.layers.layer_trace import call_count, layout_of, require_all_images
from convscope.engine.network.accumulation_dtype import accumulator_like, upcast
from convscope.engine.network.hooks import capture, replace_output
from convscope.engine.network.model import Model
from convscope.engine.paths.path import Path
from convscope.engine.run.gradients import (
    gradients_of,
    note_gradient_use,
    outputs_at,
    outputs_with_gradients,
    score,
    settle,
)
from convscope.engine.run.perturbed_samples import each_copy
from convscope.engine.run.zero_maps import reason
from convscope.engine.targets.target import Target, describe
from convscope.errors import NoGradient, NotFinite, ParameterError
from convscope.runtime.layer_maps import over_input
from convscope.values import LayerAttribution

ActivationAndGradient = tuple[Tensor, Tensor]
"""A layer's output for some images and the gradient of their scores with respect to it, (N, …) each."""


def one_layer(layers: Layers) -> str:
    """The one layer that was named.

    Raises:
        ParameterError: several were named.
    """
    if len(layers) != 1:
        raise ParameterError(f"layer names one layer here, got {len(layers)}: {', '.join(layers)}")
    return layers[0]


def activation_and_gradient(
    model: Model, tensor: Tensor, target: Target, rows: Tensor, layer: str, *, clean: bool = True
) -> ActivationAndGradient:
    """A layer's output and gradient for one chunk of prepared inputs; input ``i`` belongs to image ``rows[i]``."""
    note_gradient_use()
    pairs = outputs_with_gradients(model, model.input_copy(tensor), target, rows, [layer], clean=clean)
    activation, gradient = (_by_image(model, layer, tensor, each) for each in pairs[layer])
    return activation, gradient


def _by_image(model: Model, layer: str, tensor: Tensor, output: Tensor) -> Tensor:
    """A layer's output with the images along the first axis, (N, …)."""
    layout = layout_of(model, layer, tensor)
    return upcast(layout.by_image(require_all_images(layout, layer, len(tensor), output)))


def at_images(model: Model, images: Images, target: Target, layer: str) -> ActivationAndGradient:
    """A layer's output and gradient for all images."""
    parts: dict[int, ActivationAndGradient] = {}

    def visit(rows: Tensor, _copies: Tensor) -> None:
        parts[int(rows[0])] = activation_and_gradient(model, images.tensor[rows], target, rows, layer)

    each_copy(model, images, target, 1, visit, whole=False)
    activations, gradients = zip(*(parts[first] for first in sorted(parts)), strict=True)
    return torch.cat(activations), torch.cat(gradients)


def at_inputs(model: Model, inputs: Tensor, layer: str) -> Tensor:
    """A layer's output for prepared inputs, (N, …)."""
    parts: dict[int, Tensor] = {}

    def step(rows: Tensor) -> None:
        laid = model.input_copy(inputs[rows])
        parts[int(rows[0])] = _by_image(model, layer, laid, outputs_at(model, laid, [layer])[layer])

    in_chunks(len(inputs), inputs[0], step, light=True, quiet=True)
    return torch.cat([parts[first] for first in sorted(parts)])


def scores_of(target: Target) -> Tensor:
    """The explained number of every image (N,), float64, of a settled target."""
    return torch.tensor([float(number or 0.0) for number in target.scores], dtype=torch.float64, device="cpu")


def mean_gradient(
    model: Model, images: Images, target: Target, layer: str, path: Path, points: Tensor, weights: Tensor
) -> Tensor:
    """The weighted sum of a layer's gradients at ``points`` of each image's path through inputs, (N, …)."""
    total: list[Tensor] = []

    def visit(rows: Tensor, numbers: Tensor) -> None:
        _, gradient = activation_and_gradient(model, path(rows, points[numbers]), target, rows, layer, clean=False)
        _add(total, rows, _weighted(weights[numbers], gradient), len(images))

    settle(model, images, target)
    each_copy(model, images, target, len(points), visit, whole=False)
    return total[0]


def conductance(model: Model, images: Images, target: Target, layer: str, path: Path, steps: int) -> Tensor:
    """∫ ∂f/∂A · dA along each image's path through inputs, by the trapezoid rule over ``steps`` parts, (N, …).

    Points of one image are consecutive; the last point of a chunk is kept for the interval that extends into the next
    chunk. The target must be settled.
    """
    total: list[Tensor] = []
    last: list[tuple[int, Tensor, Tensor]] = []
    alphas = torch.linspace(0, 1, steps + 1, dtype=torch.float64, device="cpu")

    def visit(rows: Tensor, numbers: Tensor) -> None:
        activation, gradient = activation_and_gradient(
            model, path(rows, alphas[numbers]), target, rows, layer, clean=False
        )
        before = rows
        if last:
            row, old_activation, old_gradient = last[0]
            before = torch.cat([torch.tensor([row], device=rows.device), rows])
            activation, gradient = torch.cat([old_activation, activation]), torch.cat([old_gradient, gradient])
        parts = (gradient[1:] + gradient[:-1]) / 2 * (activation[1:] - activation[:-1])
        same = (before[1:] == before[:-1]).to(parts.device)
        _add(total, before[1:], _weighted(same, parts), len(images))
        last[:] = [(int(rows[-1]), activation[-1:], gradient[-1:])]

    each_copy(model, images, target, steps + 1, visit, whole=False)
    return total[0]


def through_unit(
    model: Model, images: Images, target: Target, unit: UnitAddress, path: Path, points: Tensor, weights: Tensor
) -> Tensor:
    """The weighted sum of ∂f/∂u · ∂u/∂x at ``points`` of each image's path through inputs, u the unit, (N, C, …)."""
    note_gradient_use()
    total = accumulator_like(images.tensor)

    def visit(rows: Tensor, numbers: Tensor) -> None:
        x = model.input_copy(path(rows, points[numbers])).requires_grad_(True)
        layout = layout_of(model, unit.layer, x)
        with torch.enable_grad(), capture(model.module, [unit.layer], differentiable=True) as caught:
            scores = score(model, x.clone(), target, rows, clean=False)  # a network may not write to a leaf
            activation = require_all_images(layout, unit.layer, len(x), caught[unit.layer])
            if activation.grad_fn is None:
                model.require_gradient()
                raise NoGradient(
                    f"layer {unit.layer!r} is cut off from the input (detached, or run under torch.no_grad inside the "
                    "network): nothing of the pixels passes through its units by a gradient"
                )
            (slope,) = gradients_of(scores, [activation], model, retain=True)
            chosen = select_unit(layout.units(activation), unit) * select_unit(layout.units(slope), unit)
            (gradient,) = gradients_of(chosen, [x], model)
        total.index_add_(0, rows.to(total.device), _weighted(weights[numbers], upcast(gradient)))

    settle(model, images, target)
    each_copy(model, images, target, len(points), visit, whole=False)
    return total


def within_layer(
    model: Model, images: Images, target: Target, layer: str, start: Tensor, points: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The weighted sum of gradients on the straight path from ``start`` (N, …) to a layer's output for the images.

    The network runs on the images; at the layer its output is replaced by a point of the path.

    Returns:
        That sum (N, …), the path's length along each number (N, …), and the scores where the path starts (N,).
    """
    layout = layout_of(model, layer, images.tensor)
    end = at_images(model, images, target, layer)[0]
    total: list[Tensor] = []
    started = torch.zeros(len(images), dtype=torch.float64, device="cpu")

    def scored(rows: Tensor, alphas: Tensor) -> tuple[Tensor, Tensor]:
        leaves: list[Tensor] = []

        def path_point(output: Tensor) -> Tensor:
            point = start[rows] + _weighted(alphas, end[rows] - start[rows])
            leaves.append(layout.from_images(point).to(output).requires_grad_(True))
            torch.set_grad_enabled(True)
            return leaves[0].clone()

        inputs = model.input_copy(images.tensor[rows])
        with torch.no_grad(), replace_output(model.module, layer, path_point, call=call_count(model, layer, inputs)):
            scores = score(model, inputs, target, rows, clean=False)
        return scores, leaves[0]

    def visit(rows: Tensor, numbers: Tensor) -> None:
        scores, leaf = scored(rows, points[numbers])
        with torch.enable_grad():
            (gradient,) = gradients_of(scores, [leaf], model)
        _add(total, rows, _weighted(weights[numbers], upcast(layout.by_image(gradient))), len(images))

    def begin(rows: Tensor, _copies: Tensor) -> None:
        started[rows] = (
            scored(rows, torch.zeros(len(rows), dtype=torch.float64, device="cpu"))[0].detach().cpu().double()
        )

    note_gradient_use()
    each_copy(model, images, target, len(points), visit, whole=False)
    each_copy(model, images, target, 1, begin, whole=False)
    return total[0], end - start, started


def layer_attributions(
    model: Model,
    images: Images,
    target: Target,
    layer: str,
    contributions: Tensor,
    notes: Sequence[Mapping[str, Any]] | None = None,
) -> list[LayerAttribution]:
    """One value per image from contributions (N, …) in the shape of the layer's output."""
    if not bool(torch.isfinite(contributions).all()):
        raise NotFinite("the map holds NaN or infinite numbers: nothing can be read from it")
    layout = layout_of(model, layer, images.tensor)
    units = layout.units_by_image(contributions).float().cpu()
    outside_map = (contributions.flatten(1).double().sum(1).cpu() - units.flatten(1).double().sum(1)).tolist()
    summed = over_input(model, images, layer, units.sum(1)) if layout.has_positions else None
    values = []
    for row in range(len(images)):
        row_notes = dict(notes[row]) if notes else {}
        if units[row].numel() < contributions[row].numel():
            row_notes["beside the map"] = outside_map[row]
        if not bool(units[row].any()):
            row_notes["blank"] = reason(model, images, target, row, (layer,), None)
        values.append(
            LayerAttribution(
                values=units[row].clone(),
                layer=layer,
                over_input=None if summed is None else summed[row].clone(),
                photo=images.photo(row),  # type: ignore[arg-type]
                target=describe(target, row, model),
                target_index=target.index_of(row),
                score=target.scores[row],
                notes=row_notes,
            )
        )
    return values


def _weighted(weights: Tensor, tensor: Tensor) -> Tensor:
    """``tensor`` (B, …) with each row multiplied by its weight (B,)."""
    return weights.to(tensor).view(-1, *[1] * (tensor.ndim - 1)) * tensor


def _add(total: list[Tensor], rows: Tensor, parts: Tensor, images: int) -> None:
    """Add ``parts[i]`` to image ``rows[i]``'s total, which is created when its shape is known."""
    if not total:
        total.append(parts.new_zeros(images, *parts.shape[1:]))
    total[0].index_add_(0, rows.to(parts.device), parts)
