"""Properties of images that give their class away: size, brightness, color, format."""

from collections import Counter
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np

from convscope.render.bar_plot import draw_bars
from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.folder_evidence import PROPERTIES, FolderEvidence, ImageFile, groups
from convscope.training.checks.folder_pictures import draw_distributions
from convscope.values.facts import Fact

FEWEST, FEWEST_PER_CLASS, MOST_CLASSES = 16, 5, 50
GAIN, DEVIATIONS = 0.3, 4.0
BINS, MOST_BARS = 6, 12

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@check(
    "folder",
    title="a property gives the class away",
    looks_for="From one property alone (width, height, shape, brightness, contrast, color, saturation, sharpness, file "
    "format) the class of images that were left out is told 30 percentage points more often than chance, by four "
    "standard deviations.",
    cause="the classes were collected in different ways: another camera, another site, another compression; a network "
    "can learn that in place of the objects",
    remedy="Image.open(path).convert('RGB').resize(size).save(path.with_suffix('.png'))  # the same for all classes\n"
    "transforms.ColorJitter(0.5, 0.5, 0.5); transforms.GaussianBlur(3)  # as augmentation",
)
def telling_properties(folder: FolderEvidence) -> list[Evidenced]:
    """Tell classes from each property: learnt on one half of the images, measured on the other."""
    images = [image for image in folder.images if image.label]
    labels = sorted({image.label for image in images})
    classes = np.array([labels.index(image.label) for image in images], np.int64)
    counts = np.bincount(classes, minlength=1)
    if len(images) < FEWEST or not 2 <= len(labels) <= MOST_CLASSES or counts.min() < FEWEST_PER_CLASS:
        return []
    chance = 1 / len(labels)
    deviation = (chance * (1 - chance) / len(images)) ** 0.5
    findings: list[Evidenced] = []
    for name, levels in _levels(images).items():
        share = _accuracy_of(levels, classes, len(labels))
        if share - chance >= max(GAIN, DEVIATIONS * deviation):
            evidence = Fact(
                "{property} alone tells the class of {share} of the images of each class, chance of {chance}",
                property=name, share=f"{share:.0%}", chance=f"{chance:.0%}",
            )  # fmt: skip
            findings.append((str(name), evidence, partial(_draw, name, images)))
    return findings


def _levels(images: list[ImageFile]) -> dict[Fact, Numbers]:
    """Each property in a few levels with about as many images each."""
    levels: dict[Fact, Numbers] = {}
    for name, measure in PROPERTIES.items():
        values = np.array([measure(image) for image in images])
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
        levels[name] = np.searchsorted(edges, values, side="right")
    endings = [PurePath(image.name).suffix.lower() for image in images]
    levels[Fact("file format")] = np.unique(endings, return_inverse=True)[1]
    return levels


def _accuracy_of(levels: Numbers, classes: Numbers, count: int) -> float:
    """The mean over classes of the share of images whose class is the likeliest for their level in the other half."""
    halves = _halves(classes)
    right = np.zeros(len(classes), bool)
    for half in (False, True):
        learnt = halves == half
        table = np.zeros((int(levels.max()) + 1, count))
        np.add.at(table, (levels[learnt], classes[learnt]), 1)
        table /= np.bincount(classes[learnt], minlength=count).clip(1)
        right[~learnt] = table[levels[~learnt]].argmax(1) == classes[~learnt]
    return float(np.mean([right[classes == index].mean() for index in range(count)]))


def _halves(classes: Numbers) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Every second image of each class."""
    halves = np.zeros(len(classes), bool)
    for index in np.unique(classes):
        halves[np.flatnonzero(classes == index)[1::2]] = True
    return halves


def _draw(name: Fact, images: list[ImageFile]) -> Picture:
    """How a property is distributed in each class; of formats, which are no numbers, the number of files of each."""
    if name in PROPERTIES:
        values = {label: [PROPERTIES[name](image) for image in members] for label, members in groups(images, "label")}
        return draw_distributions(values, title=f"{name}, % of the images of each class", x_label=str(name))
    files = Counter(f"{image.label} {PurePath(image.name).suffix.lower()}" for image in images).most_common(MOST_BARS)
    heights = np.array([count for _, count in files], np.float64)
    return draw_bars(heights, [kind for kind, _ in files], title="files of each class and format", x_label="")
