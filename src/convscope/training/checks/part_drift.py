"""Validation images that differ from the training images in what can be measured without a look at what they show."""

import math
from functools import partial

import numpy as np

from convscope.render.bar_plot import draw_bars
from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.folder_evidence import (
    PROPERTIES,
    TRAINING_PARTS,
    VALIDATION_PARTS,
    FolderEvidence,
    ImageFile,
)
from convscope.training.checks.folder_pictures import draw_distributions
from convscope.values.facts import Fact

FEWEST, DISTANCE, SHARE, SIGNIFICANCE = 12, 0.4, 0.15, 0.001


@check(
    "folder",
    title="training and validation images differ",
    looks_for="The distributions of a property (size, brightness, contrast, color, saturation, sharpness) in the two "
    "parts of the folder are 0.4 apart at one place at least (Kolmogorov–Smirnov), or the share of a class differs by "
    "15 percentage points, either less often than once in 1000 by chance (over all properties and classes).",
    cause="the parts are of another time, camera or site, or were not split at random",
    remedy="train_test_split(files, stratify=labels, random_state=0)\n"
    "transforms.ColorJitter(0.5, 0.5, 0.5)  # or augmentation that covers the difference",
)
def part_drift(folder: FolderEvidence) -> list[Evidenced]:
    """Compare properties and classes of the training part with those of the validation part."""
    training = [image for image in folder.images if image.part in TRAINING_PARTS]
    validation = [image for image in folder.images if image.part in VALIDATION_PARTS]
    if min(len(training), len(validation)) < FEWEST:
        return []
    return [*_properties(training, validation), *_classes(training, validation)]


def _properties(training: list[ImageFile], validation: list[ImageFile]) -> list[Evidenced]:
    from scipy.stats import ks_2samp

    findings: list[Evidenced] = []
    for name, measure in PROPERTIES.items():
        first, second = [measure(image) for image in training], [measure(image) for image in validation]
        test = ks_2samp(first, second)
        distance, chance = float(test.statistic), float(test.pvalue) * len(PROPERTIES)
        if distance >= DISTANCE and chance < SIGNIFICANCE:
            evidence = Fact(
                "{property}: median {training} in training, {validation} in validation (distance {distance})",
                property=name, training=f"{np.median(first):.3g}", validation=f"{np.median(second):.3g}",
                distance=f"{distance:.2f}",
            )  # fmt: skip
            parts = {"training": first, "validation": second}
            title = f"{name}, % of the images of each part"
            findings.append((str(name), evidence, partial(draw_distributions, parts, title=title, x_label=str(name))))
    return findings


def _classes(training: list[ImageFile], validation: list[ImageFile]) -> list[Evidenced]:
    labels = sorted({image.label for image in (*training, *validation)})
    findings: list[Evidenced] = []
    for label in labels if len(labels) > 1 else ():
        first, second = ([image.label == label for image in part] for part in (training, validation))
        shares = float(np.mean(first)), float(np.mean(second))
        pooled = float(np.mean(first + second))
        deviation = (pooled * (1 - pooled) * (1 / len(first) + 1 / len(second))) ** 0.5
        chance = math.erfc(abs(shares[0] - shares[1]) / max(deviation, 1e-12) / 2**0.5) * len(labels)
        if abs(shares[0] - shares[1]) >= SHARE and chance < SIGNIFICANCE:
            evidence = Fact(
                "class '{label}' is {training} of the training images and {validation} of the validation images",
                label=label, training=f"{shares[0]:.0%}", validation=f"{shares[1]:.0%}",
            )  # fmt: skip
            findings.append((label, evidence, partial(_draw_shares, label, shares)))
    return findings


def _draw_shares(label: str, shares: tuple[float, float]) -> Picture:
    """The share of a class in either part as bars."""
    percent = np.round(np.array(shares) * 100, 1)
    return draw_bars(percent, ("training", "validation"), title=f"class '{label}', % of the images", x_label="part")
