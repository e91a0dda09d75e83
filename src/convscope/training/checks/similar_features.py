"""Images that are nearly the same to the network: crops, mirrored and turned copies, frames of one film."""

from functools import partial

import numpy as np

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.features import Floats, distances, standardised
from convscope.training.checks.folder_evidence import FolderEvidence, ImageFile
from convscope.training.checks.folder_pictures import draw_cells, together
from convscope.training.checks.near_duplicates import ALIKE
from convscope.values.facts import Fact

FEWEST, MOST, NEAR, FEWEST_DIRECTIONS = 12, 4000, 0.25, 6.0


@check(
    "folder",
    title="near-duplicates to the network",
    looks_for="The features of two images (the input of the last linear layer) are four times as close as the nearest "
    "images usually are, and neither their pixels nor their thumbnails are alike; fewer than half of the images are "
    "like that, and the features use six directions at least (needs --model).",
    cause="crops, mirrored or turned copies of one image, or frames of one scene; in both parts of the folder the "
    "validation is too good",
    remedy="path.unlink()  # all but one of each group, after a look at them\n"
    "# split by source, film or day, so that frames of one scene are in one part",
    severity="note",
)
def similar_features(folder: FolderEvidence) -> list[Evidenced]:
    """Compare each distance with what is usual for the nearest image."""
    images = folder.images[:MOST]
    if folder.features is None or len(images) < FEWEST:
        return []
    features = standardised(folder.features[: len(images)])
    if features.shape[1] == 0 or _directions(features) < FEWEST_DIRECTIONS:
        return []
    apart = distances(features)
    close = np.argwhere(np.triu(apart < NEAR * float(np.median(apart.min(1)))))
    pairs = [(images[a], images[b]) for a, b in close.tolist() if not _reported(images[a], images[b])]
    count = len({image.name for pair in pairs for image in pair})
    if not pairs or count > len(images) / 2:
        return []
    pairs.sort(key=lambda pair: pair[0].part == pair[1].part)  # those across the parts first
    evidence = Fact(
        "{count} images have nearly the features of another; pairs: {pairs}, in different parts: {across}, "
        "in different classes: {conflicting}; for example {names}",
        count=count, pairs=len(pairs), across=sum(first.part != second.part for first, second in pairs),
        conflicting=sum(first.label != second.label for first, second in pairs),
        names=[image.name for image in pairs[0]],
    )  # fmt: skip
    title = "images that are nearly the same to the network"
    return [("", evidence, partial(draw_cells, together(pairs), title=title))]


def _reported(first: ImageFile, second: ImageFile) -> bool:
    """Whether `exact_duplicates`, `split_leak` or `near_duplicates` name the pair."""
    same = first.digest == second.digest
    return same or bool(first.thumbnail.any() and first.thumbnail @ second.thumbnail > ALIKE)


def _directions(features: Floats) -> float:
    """How many directions the features use: the exponential of the entropy of their variances."""
    variances = np.linalg.svd(features - features.mean(0), compute_uv=False) ** 2
    shares = variances[variances > 0] / variances.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
