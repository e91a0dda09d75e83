"""A class that is answered from the background: what the network looks at lies outside the object."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.training.checks.answer_maps import AnswerMaps
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.values.facts import Fact

OUTSIDE, KEPT = 0.6, 0.5
MARGIN, FRAME = 1 / 12, 1 / 8
"""A map is as coarse as its layer: pixels so near to the object (of the side of the image) count as the object. Without
masks the frame of this width is the background."""


@check(
    "network",
    title="a class is answered from the background",
    looks_for="More than 60 % of the attribution (Grad-CAM) for a class lies outside the objects, and half of the "
    "images keep the answer when the object is covered with the mean color. Masks of the objects are those of samples, "
    "or given; without them the object is what lies within a frame of an eighth of the image.",
    cause="the background tells the class in the training images: the same place, season or studio",
    remedy="images * mask + other_backgrounds * ~mask  # train on objects before other backgrounds\n"
    "cs.compare(model, images, ['grad-cam', 'occlusion'])  # does it look at the object now?",
)
def background_answers(network: NetworkEvidence) -> list[Evidenced]:
    """For each class, measure the attribution outside the objects, and cover the objects."""
    maps = network.answer_maps
    if maps is None:
        return []
    objects = _objects(network, maps)
    enlarged = objects if network.masks is None else _enlarged(objects)
    outside = (maps.mass * ~enlarged).sum((1, 2))
    kept = _answers_without(network, maps, objects)
    findings: list[Evidenced] = []
    for answer in maps.classes():
        own = maps.answers == answer
        share, same = float(outside[own].mean()), float((kept[own] == answer).double().mean())
        if share < OUTSIDE or same < KEPT:
            continue
        label = network.class_name(answer)
        evidence = Fact(
            "{share} of the attribution for '{label}' lies outside {objects}, which cover {area} of the image; with "
            "them covered, {same} of these images are still called '{label}'",
            share=f"{share:.0%}", label=label, area=f"{float(objects[own].double().mean()):.0%}", same=f"{same:.0%}",
            objects=Fact("the inner parts of the images") if network.masks is None else Fact("the objects"),
        )  # fmt: skip
        findings.append((label, evidence, partial(maps.draw, answer)))
    return findings


def _objects(network: NetworkEvidence, maps: AnswerMaps) -> Tensor:
    """The pixels (R, height, width) of the objects of the explained images."""
    if network.masks is not None:
        return network.masks[maps.rows]
    inner = torch.zeros(maps.mass.shape, dtype=torch.bool, device="cpu")
    height, width = maps.mass.shape[1:]
    top, left = round(FRAME * height), round(FRAME * width)
    inner[:, top : height - top, left : width - left] = True
    return inner


def _enlarged(objects: Tensor) -> Tensor:
    """The objects with the pixels near to them."""
    margin = round(MARGIN * min(objects.shape[1:]))
    return F.max_pool2d(objects[:, None].float(), 2 * margin + 1, stride=1, padding=margin)[:, 0] > 0


def _answers_without(network: NetworkEvidence, maps: AnswerMaps, objects: Tensor) -> Tensor:
    """The answers to the images when the objects have the mean color of the image."""
    images = network.tensor[maps.rows.to(network.tensor.device)]
    covered = torch.where(objects[:, None].to(images.device), images.mean((2, 3), keepdim=True), images)
    return network.scores(covered).argmax(1)
