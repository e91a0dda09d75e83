"""Images that are nearly the same: other compression, size, brightness."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.folder_evidence import FolderEvidence, ImageFile
from convscope.training.checks.folder_pictures import draw_cells, together
from convscope.values.facts import Fact

ALIKE, MOST, BLOCK = 0.995, 20_000, 512


@check(
    "folder",
    title="near-duplicates",
    looks_for="The correlation of two images in 16 × 16 pixels is above 0.995, and their pixels are not the same; "
    "fewer than half of the images are like that.",
    cause="the same photograph saved again, resized or brightened, or frames of one film; in both parts of the folder "
    "the validation is too good",
    remedy="path.unlink()  # all but one of each group\n"
    "# split by source, film or day, so that frames of one scene are in one part",
    severity="note",
)
def near_duplicates(folder: FolderEvidence) -> list[Evidenced]:
    """Compare the thumbnails of all images with each other."""
    images = [image for image in folder.images if image.thumbnail.any()][:MOST]
    pairs = list(_pairs(images)) if len(images) > 1 else []
    count = len({image.name for pair in pairs for image in pair})
    if not pairs or count > len(images) / 2:
        return []
    across = sum(first.part != second.part for first, second in pairs)
    conflicting = sum(first.label != second.label for first, second in pairs)
    evidence = Fact(
        "{count} images are nearly the same as another; pairs: {pairs}, in different parts: {across}, "
        "in different classes: {conflicting}; for example {names}",
        count=count, pairs=len(pairs), across=across, conflicting=conflicting,
        names=[image.name for image in pairs[0]],
    )  # fmt: skip
    return [("", evidence, partial(draw_cells, together(pairs), title="images that are nearly the same"))]


def _pairs(images: list[ImageFile]) -> Iterator[tuple[ImageFile, ImageFile]]:
    """The pairs whose thumbnails are alike and whose pixels differ, block by block."""
    thumbnails = np.stack([image.thumbnail for image in images])
    for start in range(0, len(images), BLOCK):
        alike = thumbnails[start : start + BLOCK] @ thumbnails.T > ALIKE
        for row, column in np.argwhere(alike):
            first, second = images[start + row], images[column]
            if start + row < column and first.digest != second.digest:
                yield first, second
