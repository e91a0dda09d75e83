"""How often maps of the bundled networks peak on what counts: python scripts/localization.py [--samples N]

The samples are those of the first seeds, which were not used for training; only those that the network gets right are
counted. It prints the table of `src/convscope/samples/weights/README.md`: about a minute on one core.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import convscope as cs
from convscope.engine.targets.tasks.detection import overlaps
from convscope.samples import beats, nodules, scenes, sequence

Lens = Callable[..., Any]
Marked = NDArray[np.bool_]
CELL_OF_BEATS = 17
"""Samples of a recording that a position of the last map sees on either side of its own: 0.1 s."""
CELL_OF_NODULES = 4 * min(nodules.SPACING)
"""The side of a position of the last map in millimeters."""


@dataclass(frozen=True)
class Row:
    """A lens of a network, where its peak has to lie, and in how many of the maps it does."""

    network: str
    lens: str
    place: str
    hits: int
    maps: int

    def __str__(self) -> str:
        return f"| {self.network} | {self.lens} | {self.place} | {self.maps} | {self.hits / self.maps:.0%} |"


def detector(count: int) -> Iterator[Row]:
    """The map of a box peaks in the box of its object."""
    model = cs.load("bundled:detector")
    boxes = [(seed, *box) for seed in range(count) for box in boxes_of_objects(model, seed)]
    pyramid: dict[str, Any] = {"layer": "backbone.merge"}
    for name, lens, share in (
        ("grad-cam", cs.grad_cam, 1),
        ("layer-cam", cs.layer_cam, 1),
        ("hires-cam", cs.hires_cam, 1),
        ("layer-cam, layer=backbone.merge", partial(cs.layer_cam, **pyramid), 1),
        ("hires-cam, layer=backbone.merge", partial(cs.hires_cam, **pyramid), 1),
        ("rise, samples=200", partial(cs.rise, samples=200), 3),
    ):
        chosen = boxes[: len(boxes) // share]
        hits = [
            in_box(lens(model, f"sample:scenes/{seed}", target=f"box:{number}"), box) for seed, number, box in chosen
        ]
        yield Row("detector", name, "in the box of the object", sum(hits), len(hits))


def segmenter(count: int) -> Iterator[Row]:
    """The map of a class over its region peaks on the mask of its objects."""
    model = cs.load("bundled:segmenter")
    truths = [scenes.scene(seed).classes for seed in range(count)]
    predictions: list[Any] = [cs.predict(model, f"sample:scenes/{seed}", top=20) for seed in range(count)]
    regions = [
        (seed, index)
        for seed, (truth, predicted) in enumerate(zip(truths, predictions, strict=True))
        for index in sorted({*predicted.indices} & {*truth.flatten().tolist()} - {0})
    ]
    for name, lens, share in (
        ("grad-cam", cs.grad_cam, 1),
        ("hires-cam", cs.hires_cam, 1),
        ("rise, samples=200", partial(cs.rise, samples=200), 3),
    ):
        hits = [
            truths[seed].flat[peak_of(lens(model, f"sample:scenes/{seed}", target=index))] == index
            for seed, index in regions[: len(regions) // share]
        ]
        yield Row("segmenter", name, "on the mask of the class", sum(hits), len(hits))


def heartbeats(count: int) -> Iterator[Row]:
    """The map of an abnormal recording peaks in the abnormal interval."""
    model = cs.load("bundled:beats")
    drawn = [beats.recording(seed) for seed in range(count)]
    batch = torch.stack([model.input.prepare_array(each.signal).tensor for each in drawn])  # type: ignore[union-attr]
    abnormal = right_ones(model, batch, drawn)
    for name, lens, margin, place in (
        ("integrated-gradients, steps=16", partial(cs.integrated_gradients, steps=16), 0, "in the abnormal interval"),
        ("grad-cam", cs.grad_cam, CELL_OF_BEATS, "within 0.1 s of the abnormal interval, a cell of the map"),
    ):
        maps: Any = lens(model, batch[abnormal])
        hits = []
        for i, value in zip(abnormal, maps, strict=True):
            peak = peak_of(value)
            hits.append(bool(drawn[i].mask[max(0, peak - margin) : peak + margin + 1].any()))
        yield Row("beats", name, place, sum(hits), len(hits))


def volumes(count: int) -> Iterator[Row]:
    """The map of a volume with a nodule peaks in the nodule."""
    model = cs.load("bundled:nodules")
    drawn = [nodules.scan(seed) for seed in range(count)]
    batch = torch.stack([model.input.prepare_array(each.volume).tensor for each in drawn])  # type: ignore[union-attr]
    with_nodule = right_ones(model, batch, drawn)
    for name, lens, margin, place in (
        ("integrated-gradients, steps=8", partial(cs.integrated_gradients, steps=8), 0.0, "in the nodule"),
        ("grad-cam", cs.grad_cam, CELL_OF_NODULES, "within 6 mm of the nodule, a cell of the map"),
    ):
        maps: Any = lens(model, batch[with_nodule])
        hits = [
            distance_to(drawn[i].mask, peak_of(value), nodules.SPACING) <= margin
            for i, value in zip(with_nodule, maps, strict=True)
        ]
        yield Row("nodules", name, place, sum(hits), len(hits))


def messages(count: int) -> Iterator[Row]:
    """The map of a message peaks at the two words that count."""
    model = cs.load("bundled:sequence")
    drawn = [sequence.message(seed) for seed in range(count)]
    tokens: Any = [each.tokens for each in drawn]
    predictions: Any = cs.predict(model, tokens)
    right = [p.indices[0] == each.label for p, each in zip(predictions, drawn, strict=True)]
    for name, lens in (
        ("integrated-gradients, steps=16", partial(cs.integrated_gradients, steps=16)),
        ("gradient-x-input", cs.gradient_x_input),
        ("occlusion", cs.occlusion),
    ):
        maps: Any = lens(model, tokens)
        hits = [bool(each.mask[peak_of(a)]) for each, a, ok in zip(drawn, maps, right, strict=True) if ok]
        yield Row("sequence", name, "at the two words that count", sum(hits), len(hits))


PARTS: dict[str, tuple[Callable[[int], Iterator[Row]], int]] = {
    "detector": (detector, 24), "segmenter": (segmenter, 24), "beats": (heartbeats, 200), "nodules": (volumes, 120),
    "sequence": (messages, 60),
}  # fmt: skip
"""By network: what counts its maps, and on how many samples."""


def right_ones(model: cs.Model, batch: torch.Tensor, drawn: list[Any]) -> list[int]:
    """The samples of a class other than the first, which shows nothing, that the network gets right."""
    predictions: Any = cs.predict(model, batch)
    return [i for i, p in enumerate(predictions) if drawn[i].label and p.indices[0] == drawn[i].label]


def boxes_of_objects(model: cs.Model, seed: int) -> list[tuple[int, tuple[float, ...]]]:
    """The number of each box that overlaps an object of its class by half or more, and the box of that object."""
    objects = scenes.scene(seed).objects
    detections: Any = cs.predict(model, f"sample:scenes/{seed}", top=20)
    pairs: list[tuple[int, tuple[float, ...]]] = []
    for number, (box, label) in enumerate(zip(detections.boxes, detections.indices, strict=True)):
        overlap, index = overlaps(torch.tensor([each.box for each in objects])[None], torch.tensor([box]))[0].max(0)
        if overlap >= 0.5 and objects[int(index)].label == label:
            pairs.append((number, objects[int(index)].box))
    return pairs


def in_box(value: cs.Attribution, box: tuple[float, ...]) -> bool:
    """Whether a map peaks in a box."""
    row, column = divmod(peak_of(value), scenes.SIZE)
    left, top, right, bottom = box
    return left <= column < right and top <= row < bottom


def distance_to(mask: Marked, peak: int, spacing: tuple[float, ...]) -> float:
    """The distance from a position to the nearest of those marked."""
    offsets = (np.argwhere(mask) - np.unravel_index(peak, mask.shape)) * spacing
    return float(np.linalg.norm(offsets, axis=1).min())


def peak_of(value: Any) -> int:
    """The index of the largest value in the flattened map."""
    return int(value.values.argmax())


def table(counts: dict[str, int]) -> Iterator[str]:
    """The table, a line at a time, from so many samples of each network."""
    yield "| network | lens | the peak lies | maps | share |"
    yield "|---|---|---|---|---|"
    for name, count in counts.items():
        yield from map(str, PARTS[name][0](count))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, help="samples of each network, instead of those of the table")
    samples = parser.parse_args().samples
    torch.set_num_threads(1)
    for line in table({name: samples or count for name, (_, count) in PARTS.items()}):
        print(line, flush=True)
