"""Images that are far smaller, larger or narrower than the others."""

from functools import partial

import numpy as np

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.folder_evidence import FolderEvidence
from convscope.training.checks.folder_pictures import draw_cells, single
from convscope.values.facts import Fact

AREA, SHAPE, FEWEST_IMAGES = 10.0, 3.0, 10


@check(
    "folder",
    title="odd sizes or shapes",
    looks_for="An image has ten times as many pixels as the median of the folder, or a tenth of them, or is three "
    "times as wide or as high for its size, and fewer than a third of the images are like that.",
    cause="thumbnails, banners, screenshots or scans among photos; after resizing they look unlike the others",
    remedy="transforms.Resize(size); transforms.CenterCrop(size)  # keeps the shape of objects\n"
    "path.unlink()  # after a look at each",
    severity="note",
)
def unusual_sizes(folder: FolderEvidence) -> list[Evidenced]:
    """Compare the number of pixels and the ratio of width to height with the medians of the folder."""
    if len(folder.images) < FEWEST_IMAGES:
        return []
    sizes = np.array([image.size for image in folder.images], np.float64)
    areas, shapes = np.log(sizes.prod(1)), np.log(sizes[:, 0] / sizes[:, 1])
    odd = np.abs(areas - np.median(areas)) >= np.log(AREA)
    odd |= np.abs(shapes - np.median(shapes)) >= np.log(SHAPE)
    if not 0 < odd.sum() < len(odd) / 3:
        return []
    width, height = np.median(sizes, axis=0).astype(int)
    unusual = [folder.images[row] for row in np.flatnonzero(odd).tolist()]
    first = unusual[0]
    evidence = Fact(
        "{count} image is of odd size or shape: {name} has {size} pixels, the usual is {usual}"
        if len(unusual) == 1
        else "{count} images are of odd size or shape; for example {name} has {size} pixels, the usual is {usual}",
        count=len(unusual), name=first.name, size=f"{first.size[0]}×{first.size[1]}", usual=f"{width}×{height}",
    )  # fmt: skip
    lines = [f"{image.size[0]}×{image.size[1]} pixels" for image in unusual]
    legend = f"the usual size is {width}×{height}"
    return [("", evidence, partial(draw_cells, single(unusual, lines), title="odd sizes or shapes", legend=legend))]
