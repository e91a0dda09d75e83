"""Validation images that are others to the network than the training images."""

from functools import partial
from typing import Any

import numpy as np

from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.features import distances, standardised
from convscope.training.checks.folder_evidence import FolderEvidence, ImageFile, Rows
from convscope.training.checks.folder_pictures import Cell, draw_cells
from convscope.values.facts import Fact

FEWEST, MOST, NEIGHBORS, PERMUTATIONS = 12, 400, 5, 999
SHARE, CHANCE = 0.65, 0.001
MOST_DRAWN = 3
"""So many images of either part are drawn."""


@check(
    "folder",
    title="training and validation images differ to the network",
    looks_for="Of the five images that are nearest to one of a part in the features of the network (the input of its "
    "last linear layer) 65 % are of that part too, where half would be, which 999 random divisions do not reach (needs "
    "--model).",
    cause="the parts show other things, or show them in another way: other objects, sites, cameras, processing; what "
    "was learned from the one may not hold for the other",
    remedy="cs.compare(model, [training_image, validation_image], ['grad-cam', 'feature-maps'])  # what differs?\n"
    "train_test_split(files, stratify=labels, random_state=0)  # or training images like those of the use",
)
def feature_drift(folder: FolderEvidence) -> list[Evidenced]:
    """Count the nearest neighbors that are of the same part, among as many images of either part."""
    training, validation = folder.parts()
    size = min(len(training), len(validation), MOST)
    if folder.features is None or size < FEWEST:
        return []
    rows = np.concatenate([_evenly(training, size), _evenly(validation, size)])
    nearest = np.argsort(distances(standardised(folder.features[rows])), 1)[:, :NEIGHBORS]
    of_training = np.arange(2 * size) < size
    share, expected = _same_part(of_training, nearest), (size - 1) / (2 * size - 1)
    rng = np.random.default_rng(0)
    reached = sum(_same_part(rng.permutation(of_training), nearest) >= share for _ in range(PERMUTATIONS))
    if share < SHARE or (1 + reached) / (1 + PERMUTATIONS) > CHANCE:
        return []
    evidence = Fact(
        "{share} of the images that are nearest to one of a part in the features of the network are of that part too, "
        "{expected} would be by chance; {count} images of either part were compared",
        share=f"{share:.0%}", expected=f"{expected:.0%}", count=size,
    )  # fmt: skip
    compared = [folder.images[row] for row in rows.tolist()]
    return [("", evidence, partial(_draw, compared, nearest, size))]


def _evenly(rows: Rows, count: int) -> Rows:
    chosen: Rows = rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
    return chosen


def _same_part(of_training: "np.ndarray[Any, np.dtype[np.bool_]]", nearest: Rows) -> float:
    """The share of neighbors of the same part, of the part where it is larger.

    A part that varies less lies between the images of the other, and is among the neighbors of all.
    """
    same = (of_training[nearest] == of_training[:, None]).mean(1)
    return float(max(same[of_training].mean(), same[~of_training].mean()))


def _draw(images: list[ImageFile], nearest: Rows, size: int) -> Picture:
    """Some images of either part, each beside those that are nearest to it in the features."""
    parts = ("training", range(size)), ("validation", range(size, 2 * size))
    cells: list[Cell] = []
    for part, own in parts:
        for row in own[:: -(-size // MOST_DRAWN)]:
            same = sum(int(neighbor) in own for neighbor in nearest[row])
            line = f"{part} {images[row].name}; {same} of the {NEIGHBORS} nearest are of {part} too"
            cells.append(([images[row], *(images[neighbor] for neighbor in nearest[row].tolist())], [line]))
    title = "an image of a part (left), and those that are nearest to it in the features of the network"
    return draw_cells(cells, title=title, side=112)
