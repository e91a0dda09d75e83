"""A class that is answered from a corner or a border of the images: a watermark, a label, a frame."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from convscope.training.checks.answer_maps import AnswerMaps
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.values.facts import Fact

MASS, EXCESS, CHANGED, FEWEST, MOST_RECEIVERS = 0.2, 2.0, 0.5, 5, 48
SIZES = ((1, 2), (2, 1), (2, 2), (2, 4), (4, 2), (2, 8), (8, 2))
"""Heights and widths of the places that are tried, in eighths of the image."""


class Place(NamedTuple):
    """A part of an image that touches its border, in pixels."""

    top: int
    left: int
    bottom: int
    right: int

    def of(self, images: Tensor) -> Tensor:
        """The pixels of this place in images (…, height, width), as a view."""
        return images[..., self.top : self.bottom, self.left : self.right]


@check(
    "network",
    title="a class is answered from a corner or a border, as from a watermark",
    looks_for="In at least five images of one answer a fifth of the attribution (Grad-CAM) lies at one place at the "
    "border, twice as much as for other answers and in no image less than half as much as on average, and half of the "
    "images of other answers get this one once that place is copied into them.",
    cause="all training images of the class have the same thing at this place: a watermark, a caption, a frame, the "
    "mark of a scanner; the network has learned that thing and not the object",
    remedy="images[..., top:bottom, left:right] = 0  # or crop it away, in training and in use; then train again\n"
    "cs.compare(model, images, ['grad-cam', 'occlusion'])  # does it look at the object now?",
    severity="error",
)
def shortcut(network: NetworkEvidence) -> list[Evidenced]:
    """For each class, find the place at the border with most attribution, and exchange it with other classes."""
    maps = network.answer_maps
    if maps is None:
        return []
    return [finding for answer in maps.classes() for finding in _findings(network, maps, answer)]


def _findings(network: NetworkEvidence, maps: AnswerMaps, answer: int) -> Iterator[Evidenced]:
    """The finding about one class, if there is one."""
    own = maps.answers == answer
    if own.all() or int(own.sum()) < FEWEST:
        return
    mean, others = maps.mass[own].mean(0), maps.mass[~own].mean(0)
    place = max(_places(*mean.shape), key=lambda place: _surplus(place, mean, others))
    share, usual = float(place.of(mean).sum()), float(place.of(others).sum())
    in_each = place.of(maps.mass[own]).sum((1, 2))  # an object may lie at the border too, but rarely in all images
    if share < MASS or share < EXCESS * usual or float(in_each.min()) < share / 2:
        return
    gained = _answered(network, maps.rows[~own], maps.rows[own], place, answer)
    if gained < CHANGED:
        return
    lost = 1 - _answered(network, maps.rows[own], maps.rows[~own], place, answer)
    label = network.class_name(answer)
    evidence = Fact(
        "the network looks at the {place} when it answers '{label}': {share} of the attribution lies there, {usual} "
        "for other classes; with the pixels of other classes there, {lost} of these images get another answer, and "
        "{gained} of the images of other classes are called '{label}' once they have this place",
        place=_words(place, mean.shape), label=label, share=f"{share:.0%}", usual=f"{usual:.0%}", lost=f"{lost:.0%}",
        gained=f"{gained:.0%}",
    )  # fmt: skip
    yield label, evidence, partial(maps.draw, answer)


def _places(height: int, width: int) -> Iterator[Place]:
    """All places of the tried sizes that touch the border, in steps of an eighth."""
    for rows, columns in SIZES:
        for top in range(9 - rows):
            for left in range(9 - columns):
                if top in (0, 8 - rows) or left in (0, 8 - columns):
                    bottom, right = (top + rows) * height // 8, (left + columns) * width // 8
                    yield Place(top * height // 8, left * width // 8, bottom, right)


def _surplus(place: Place, mean: Tensor, others: Tensor) -> float:
    """By how much the share of the attribution exceeds that of other classes and that of an even map."""
    part = place.of(mean)
    return float(part.sum() - place.of(others).sum()) - part.numel() / mean.numel()


def _answered(network: NetworkEvidence, receivers: Tensor, donors: Tensor, place: Place, answer: int) -> float:
    """The share of some images that are given to a class when they get this place of others."""
    count = min(len(receivers), MOST_RECEIVERS)
    rows = receivers[torch.linspace(0, len(receivers) - 1, count, dtype=torch.float64, device="cpu").long()]
    device = network.tensor.device
    images, sources = network.tensor[rows.to(device)], network.tensor[donors.to(device)]
    place.of(images).copy_(place.of(sources[torch.arange(len(images), device=device) % len(sources)]))
    return float((network.scores(images).argmax(1) == answer).float().mean())


def _words(place: Place, shape: torch.Size) -> Fact:
    """Where in an image a place is."""
    height, width = shape
    vertical, horizontal = (place.top + place.bottom) / 2 / height, (place.left + place.right) / 2 / width
    upper, lower, left, right = vertical < 0.4, vertical > 0.6, horizontal < 0.4, horizontal > 0.6
    if upper:
        return Fact("upper left corner") if left else Fact("upper right corner") if right else Fact("upper border")
    if lower:
        return Fact("lower left corner") if left else Fact("lower right corner") if right else Fact("lower border")
    return Fact("left border") if left else Fact("right border")
