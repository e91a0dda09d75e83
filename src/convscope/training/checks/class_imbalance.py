"""Classes with far fewer images than others."""

from functools import partial

import numpy as np

from convscope.errors import InputError
from convscope.render.bar_plot import draw_bars
from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.folder_evidence import VALIDATION_PARTS, FolderEvidence, groups
from convscope.values.facts import Fact

FACTOR, FEWEST, MOST_BARS = 5, 3, 12


@check(
    "folder",
    title="class imbalance",
    looks_for="The largest class of the training images has five times as many images as the smallest, or a class has "
    "fewer than three.",
    cause="some classes are rarer in the world, or were collected less",
    remedy="weights = 1 / torch.bincount(labels)\n"
    "WeightedRandomSampler(weights[labels], len(labels))  # and report the accuracy of each class",
)
def class_imbalance(folder: FolderEvidence) -> list[Evidenced]:
    """Compare the numbers of images of the classes."""
    training = [image for image in folder.images if image.part not in VALIDATION_PARTS and image.label]
    counts = {label: len(members) for label, members in groups(training, "label")}
    empty = _without_images(folder.empty_classes, counts)
    if len(counts) > 1:
        return [*empty, *_uneven(counts)]
    if not empty:
        present = "all are of one class" if counts else "none has a class"
        raise InputError(f"the images cannot be compared by class, since {present}: put each class into its own folder")
    return empty


def _without_images(names: list[str], counts: dict[str, int]) -> list[Evidenced]:
    """The class folders without images; none in a folder whose images have no classes."""
    if not names or not counts:
        return []
    evidence = Fact("class folders without a readable image: {names}", names=names)
    return [("", evidence, partial(_draw, counts | dict.fromkeys(names, 0)))]


def _uneven(counts: dict[str, int]) -> list[Evidenced]:
    """What the numbers of images of the classes have against them."""
    least, most = min(counts, key=lambda label: counts[label]), max(counts, key=lambda label: counts[label])
    if counts[most] < FACTOR * counts[least] and counts[least] >= FEWEST:
        return []
    if counts[most] < FACTOR * counts[least]:
        few = sum(count < FEWEST for count in counts.values())
        evidence = Fact(
            "{few} of {total} classes has fewer than {fewest} images; {least} has {least_count}"
            if few == 1
            else "{few} of {total} classes have fewer than {fewest} images; {least} has {least_count}",
            few=few, total=len(counts), fewest=FEWEST, least=least, least_count=counts[least],
        )  # fmt: skip
    else:
        evidence = Fact(
            "{most} has {most_count} images, {least} has {least_count}",
            most=most, most_count=counts[most], least=least, least_count=counts[least],
        )  # fmt: skip
    return [("", evidence, partial(_draw, counts))]


def _draw(counts: dict[str, int]) -> Picture:
    """The numbers of images of the largest and of the smallest classes."""
    names = sorted(counts, key=lambda label: -counts[label])
    shown = names if len(names) <= MOST_BARS else [*names[: MOST_BARS // 2], *names[-(MOST_BARS // 2) :]]
    legend = "" if shown == names else f"the largest and the smallest {MOST_BARS // 2} of {len(names)} classes"
    heights = np.array([counts[name] for name in shown], np.float64)
    return draw_bars(heights, shown, title="training images of each class", x_label="class", legend=legend)
