"""Groups of images on which a network errs far more often than on the others."""

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import Cell, draw_prepared
from convscope.values.facts import Fact

FEWEST, FEWEST_OF_GROUP, DIFFERENCE, SIGNIFICANCE = 40, 8, 0.2, 0.005


@check(
    "network",
    title="errors gather in a group of images",
    looks_for="In a class, or among the darkest, brightest, flattest or least sharp quarter of the images (of images "
    "with masks also those with the smallest objects, and with those furthest to one side), the share of errors is 20 "
    "percentage points above that of the others, which chance explains less often than once in 200 times (over all "
    "groups).",
    cause="the group is rare in the training images, or is harder",
    remedy="WeightedRandomSampler(weights, len(weights))  # more of the group in training\n"
    "transforms.ColorJitter(brightness=0.5, contrast=0.5)  # or augmentation that makes such images",
)
def worst_groups(network: NetworkEvidence) -> list[Evidenced]:
    """Compare the errors within each group with those outside."""
    rows = [row for row, index in enumerate(network.classes) if index is not None]
    if network.answers is None or len(rows) < FEWEST:
        return []
    classes = torch.tensor([network.classes[row] for row in rows], dtype=torch.int64, device="cpu")
    wrong = network.answers[rows] != classes
    groups = [(name, group) for name, group in _groups(network, rows, classes) if _is_comparable(group)]
    worst = []
    for name, group in groups:
        inside, outside = float(wrong[group].double().mean()), float(wrong[~group].double().mean())
        chance = probability_of(int(wrong[group].sum()), int(group.sum()), int(wrong.sum()), len(rows))
        if inside - outside >= DIFFERENCE and chance * len(groups) < SIGNIFICANCE:
            worst.append((chance, name, group, inside, outside))
    if not worst:
        return []
    _, name, group, inside, outside = min(worst, key=lambda candidate: candidate[0])
    evidence = Fact(
        "{name}: {inside} of {count} images are answered wrongly, {outside} of the others; the group has {share} "
        "of all errors",
        name=name, inside=f"{inside:.0%}", count=int(group.sum()), outside=f"{outside:.0%}",
        share=f"{float(wrong[group].sum() / wrong.sum()):.0%}",
    )  # fmt: skip
    errors = [row for row, is_error in zip(rows, (wrong & group).tolist(), strict=True) if is_error]
    return [(str(name), evidence, partial(_draw, network, str(name), errors))]


def _draw(network: NetworkEvidence, name: str, errors: list[int]) -> Picture:
    """The images of a group that are answered wrongly."""
    assert network.answers is not None, "the caller has checked"
    cells: list[Cell] = [
        ([network.tensor[row]], [network.names[row], f"answer {network.class_name(int(network.answers[row]))}"])
        for row in errors
    ]
    return draw_prepared(network, cells, title=f"errors in {name}")


def _is_comparable(group: Tensor) -> bool:
    return FEWEST_OF_GROUP <= int(group.sum()) <= len(group) - FEWEST_OF_GROUP


def _groups(network: NetworkEvidence, rows: list[int], classes: Tensor) -> Iterator[tuple[Fact, Tensor]]:
    """Classes, and quarters of the images by their properties."""
    for index in sorted(set(classes.tolist())):
        yield Fact("class '{label}'", label=network.class_name(index)), classes == index
    if network.tensor.ndim != 4:
        return
    images = network.tensor[rows].float().cpu()
    brightness, contrast = images.mean((1, 2, 3)), images.std((1, 2, 3))
    steps = images.diff(dim=3).abs().mean((1, 2, 3)) + images.diff(dim=2).abs().mean((1, 2, 3))
    sharpness = steps / contrast.clamp_min(1e-6)
    yield Fact("the darkest quarter"), _lowest_quarter(brightness)
    yield Fact("the brightest quarter"), _lowest_quarter(-brightness)
    yield Fact("the quarter with the lowest contrast"), _lowest_quarter(contrast)
    yield Fact("the least sharp quarter"), _lowest_quarter(sharpness)
    if network.masks is not None:
        yield from _groups_by_object(network.masks[rows].double())


def _groups_by_object(masks: Tensor) -> Iterator[tuple[Fact, Tensor]]:
    """Quarters of the images by the size and the place of their objects (N, height, width)."""
    size = masks.mean((1, 2))
    yield Fact("the quarter with the smallest objects"), _lowest_quarter(size)
    height, width = (torch.arange(length, dtype=torch.float64, device="cpu") for length in masks.shape[1:])
    pixels = masks.sum((1, 2)).clamp_min(1)
    top, left = (masks.sum(2) * height).sum(1) / pixels, (masks.sum(1) * width).sum(1) / pixels
    yield Fact("the quarter with the highest objects in the image"), _lowest_quarter(top)
    yield Fact("the quarter with the lowest objects in the image"), _lowest_quarter(-top)
    yield Fact("the quarter with the objects furthest left"), _lowest_quarter(left)
    yield Fact("the quarter with the objects furthest right"), _lowest_quarter(-left)


def _lowest_quarter(values: Tensor) -> Tensor:
    return values < values.quantile(0.25)


def probability_of(errors: int, size: int, all_errors: int, count: int) -> float:
    """How likely a random group of a size has so many of the errors, or more (hypergeometric)."""
    most = min(size, all_errors)
    ways = sum(math.comb(all_errors, k) * math.comb(count - all_errors, size - k) for k in range(errors, most + 1))
    return ways / math.comb(count, size)
