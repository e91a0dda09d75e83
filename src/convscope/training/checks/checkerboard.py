"""Pixels that count far less than their neighbors, because of strides."""

from functools import partial

import torch
from torch import Tensor

from convscope.render.picture_table import PictureCell, draw_picture_table
from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import grey
from convscope.values.facts import Fact

STRIDES, RATIO, MOST_IMAGES, FEWEST_PERIODS, MIDDLE = (2, 3, 4), 10.0, 32, 4, 32


@check(
    "network",
    title="a checkerboard from strides",
    looks_for="The mean magnitude of the gradient of the top score differs by a factor of ten between the pixels at "
    "different places within cells of 2 × 2, 3 × 3 or 4 × 4 pixels.",
    cause="a kernel that is smaller than its stride, or not a multiple of it: some pixels are read by fewer of its "
    "positions than others, or by none",
    remedy="nn.Conv2d(channels, channels, kernel_size=4, stride=2, padding=1)  # a multiple of the stride\n"
    "nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels, channels, 1))  # in place of a strided 1 × 1",
    severity="note",
)
def checkerboard(network: NetworkEvidence) -> list[Evidenced]:
    """Fold the gradient at the input along the period of strides."""
    images = network.tensor[:MOST_IMAGES]
    if images.ndim != 4 or not images.is_floating_point() or network.answers is None:
        return []
    gradient = _gradient(network, images)
    if gradient is None:
        return []
    for stride in STRIDES:
        phases = folded(gradient, stride)
        if phases is not None and float(phases.min()) * RATIO <= float(phases.max()):
            evidence = Fact(
                "within cells of {stride} × {stride} pixels the gradient is between {least} and {most} of its mean",
                stride=stride, least=f"{float(phases.min()):.0%}", most=f"{float(phases.max()):.0%}",
            )  # fmt: skip
            return [("", evidence, partial(_draw, gradient))]
    return []


def folded(gradient: Tensor, stride: int) -> Tensor | None:
    """The mean of a map (height, width) at each place within a cell, relative to its mean; None if it is zero."""
    rows, columns = (size // stride for size in gradient.shape)
    if min(rows, columns) < FEWEST_PERIODS or float(gradient.mean()) <= 0:
        return None
    cells = gradient[: rows * stride, : columns * stride].view(rows, stride, columns, stride)
    return cells.mean((0, 2)) / cells.mean()


def _gradient(network: NetworkEvidence, images: Tensor) -> Tensor | None:
    """The mean magnitude of the gradient of the top scores at the pixels; None if none reaches them."""
    with network.model.preserve_state(), torch.enable_grad():
        tensor = images.detach().clone().requires_grad_()
        score = network.model.run(tensor.clone()).flatten(1).amax(1).sum()
        if not score.requires_grad:
            return None
        (gradient,) = torch.autograd.grad(score, tensor, allow_unused=True)
    if gradient is None or not bool(gradient.isfinite().all()):
        return None
    magnitude: Tensor = gradient.abs().double().mean((0, 1)).cpu()
    return magnitude


def _draw(gradient: Tensor) -> Picture:
    """The gradient over the pixels, and its middle enlarged."""
    height, width = gradient.shape
    top, left = (height - min(height, MIDDLE)) // 2, (width - min(width, MIDDLE)) // 2
    middle = gradient[top : top + MIDDLE, left : left + MIDDLE]
    cells = [PictureCell([grey(gradient)], ["all pixels"]), PictureCell([grey(middle)], ["the middle, enlarged"])]
    return draw_picture_table(cells, title="mean magnitude of the gradient at each pixel", legend="", side=320)
