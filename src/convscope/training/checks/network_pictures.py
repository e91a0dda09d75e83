"""The evidence of findings about a network as pictures: the images concerned, kernels, numbers of all layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope import render
from convscope.catalogue import call
from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import Pixels, line_colours
from convscope.render.picture_table import PictureCell, draw_picture_table
from convscope.render.rendered_picture import Picture
from convscope.training.checks.network_evidence import NetworkEvidence

MOST_CELLS, SIDE = 12, 140
"""So many cells of images are drawn at most, and their longer side in pixels."""

Cell = tuple[Sequence[Tensor], Sequence[str]]
"""Prepared images (C, …) that are drawn side by side, and the lines below them."""


def draw_prepared(network: NetworkEvidence, cells: Sequence[Cell], *, title: str, legend: str = "") -> Picture:
    """The first cells, images as the network receives them; inputs that are no pictures are named alone.

    Args:
        legend: a sentence below the images.
    """
    shown = [PictureCell(_photos(network, tensors), lines) for tensors, lines in cells[:MOST_CELLS]]
    left_out = f"the first {len(shown)} of {len(cells):,}" if len(cells) > len(shown) else ""
    return draw_picture_table(shown, title=title, legend="; ".join(filter(None, (left_out, legend))), side=SIDE)


def draw_kernels(network: NetworkEvidence, layer: str) -> Picture:
    """The kernels of a convolution."""
    return render.picture(call("kernels", network.model, layer=layer))


def draw_activations(network: NetworkEvidence, layer: str) -> Picture:
    """The distributions of the outputs of all layers, with their dead and saturated channels."""
    return render.picture(network.activations)


def draw_by_layer(numbers: Mapping[str, float], *, title: str, **options: Any) -> Picture:
    """A number of each layer, from the input to the output.

    Args:
        numbers: layer → its number.
        options: further arguments of `draw_lines`.
    """
    places, values = np.arange(len(numbers), dtype=np.float64), np.array(list(numbers.values()), np.float64)
    line = PlotLine(title, places, values, line_colours(1)[0])
    return draw_lines([line], title=title, x_label="", x_names=list(numbers), **options)


def grey(values: Tensor) -> Pixels:
    """A map (height, width) that is not negative as grey levels, white at its largest number."""
    levels = (values / values.max().clamp_min(1e-30) * 255).round().to(torch.uint8).cpu().numpy()
    return np.repeat(levels[..., None], 3, 2)


def _photos(network: NetworkEvidence, tensors: Sequence[Tensor]) -> list[Pixels]:
    photos = [network.model.input.picture(tensor) for tensor in tensors]
    return [np.asarray(photo) for photo in photos if photo is not None and photo.ndim == 3]
