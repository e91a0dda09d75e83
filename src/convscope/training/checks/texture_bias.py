"""A network that answers the same when the parts of the image are shuffled: it knows textures, not shapes."""

from functools import partial

import torch
from torch import Tensor

from convscope.engine.inputs.specs import ImageInput
from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import Cell, draw_prepared
from convscope.values.facts import Fact

KEPT, GRIDS, FEWEST, FEWEST_CLASSES, MOST_IMAGES, SMALLEST, EDGES = 0.75, (4, 8), 12, 2, 64, 16, 0.8
MOST_DRAWN = 6
"""So many images are drawn."""


@check(
    "network",
    title="texture rather than shape",
    looks_for="Three quarters of the answers stay the same when the pieces of the image in a grid of 4 × 4 are "
    "shuffled, and in one of 8 × 8 too (mean over the answered classes).",
    cause="texture or color suffice to tell the training classes apart, so that shape was not learned; the answers "
    "change with material, season and camera",
    remedy="transforms.ColorJitter(0.5, 0.5, 0.5, 0.2); transforms.GaussianBlur(5)  # as augmentation\n"
    "# images of the same objects in other materials and styles (Geirhos et al., 2019)",
    severity="note",
)
def texture_bias(network: NetworkEvidence) -> list[Evidenced]:
    """Compare the answers with those on shuffled pieces."""
    images, answers = network.tensor[:MOST_IMAGES].float(), network.answers
    if answers is None or not isinstance(network.model.input, ImageInput) or images.ndim != 4 or len(images) < FEWEST:
        return []
    answers = answers[: len(images)]
    answered = sorted(set(answers.tolist()))
    if min(images.shape[2:]) < SMALLEST or len(answered) < FEWEST_CLASSES:
        return []

    def kept(changed: Tensor) -> float:
        same = network.scores(changed.to(network.tensor)).argmax(1) == answers
        return float(torch.stack([same[answers == answer].double().mean() for answer in answered]).mean())

    shuffled = [kept(with_shuffled_pieces(images, grid)) for grid in GRIDS]
    if min(shuffled) < KEPT:
        return []
    evidence = Fact(
        "{large} of the answers stay the same with shuffled pieces of a quarter of the side, {small} with pieces of an "
        "eighth, {edges} with edges alone",
        large=f"{shuffled[0]:.0%}", small=f"{shuffled[1]:.0%}", edges=f"{kept(edges_of(images)):.0%}",
    )  # fmt: skip
    return [("", evidence, partial(_draw, network, images))]


def _draw(network: NetworkEvidence, images: Tensor) -> Picture:
    """Some images, whole and with shuffled pieces, with the answer to each."""
    shown = images[:: -(-len(images) // MOST_DRAWN)]
    versions = [shown, *(with_shuffled_pieces(shown, grid) for grid in GRIDS)]
    answers = [network.scores(version.to(network.tensor)).argmax(1).tolist() for version in versions]
    cells: list[Cell] = [
        (row, ["answers " + ", ".join(map(network.class_name, of_row))])
        for row, of_row in zip(zip(*versions, strict=True), zip(*answers, strict=True), strict=True)
    ]
    return draw_prepared(network, cells, title="answers to images with shuffled pieces")


def with_shuffled_pieces(images: Tensor, grid: int) -> Tensor:
    """The images with the pieces of a grid in another order, the same for all; margins that do not divide stay."""
    changed, (height, width) = images.clone(), (size // grid for size in images.shape[2:])
    order = torch.randperm(grid * grid, generator=torch.Generator("cpu").manual_seed(1), device="cpu").tolist()
    for target, source in enumerate(order):
        (top, left), (row, column) = divmod(target, grid), divmod(source, grid)
        piece = images[:, :, row * height : (row + 1) * height, column * width : (column + 1) * width]
        changed[:, :, top * height : (top + 1) * height, left * width : (left + 1) * width] = piece
    return changed


def edges_of(images: Tensor) -> Tensor:
    """The fifth of the pixels with the steepest grey levels, bright on dark: outlines without color and surface."""
    grey = images.mean(1, keepdim=True)
    vertical = torch.nn.functional.pad(grey.diff(dim=2), (0, 0, 0, 1))
    horizontal = torch.nn.functional.pad(grey.diff(dim=3), (0, 1, 0, 0))
    steepness = vertical.hypot(horizontal)
    is_edge = steepness > steepness.flatten(1).quantile(EDGES, dim=1).view(-1, 1, 1, 1)
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return torch.where(is_edge, high, low).expand_as(images).contiguous()
