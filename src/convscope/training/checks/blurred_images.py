"""Images without sharp edges among images that have them."""

from functools import partial
from statistics import median

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.folder_evidence import FolderEvidence, ImageFile, groups
from convscope.training.checks.folder_pictures import draw_cells, single
from convscope.training.checks.unusual_images import BLANK, SHARE
from convscope.values.facts import Fact

SOFT, RELATIVE = 0.5, 0.7
"""Sharp photographs lose 0.67 to 0.91 of their differences, the same with a blur of two pixels 0.21 to 0.56."""


@check(
    "folder",
    title="blurred images",
    looks_for="At 256 pixels a further blur takes less than half of the differences between neighboring pixels, large "
    "ones counting most, and less than 0.7 times what it takes from the median image of the class; fewer than a third "
    "of the class lose so little.",
    cause="a camera out of focus or in motion, or small images that were enlarged",
    remedy="path.unlink()  # after a look at each",
    severity="note",
)
def blurred_images(folder: FolderEvidence) -> list[Evidenced]:
    """Blur each image once more: sharp edges lose most of their differences, soft ones keep them.

    Neither contrast nor the number of edges matters: a sharp object before a blurred background is sharp. In a class
    whose images are often soft, as in ultrasound, none is named.
    """
    rare = [image for _, members in groups(folder.images, "label") for image in _blurred(members)]
    if not rare:
        return []
    names = [image.name for image in rare]
    evidence = Fact(
        "{count} image is blurred: {names}" if len(names) == 1 else "{count} images are blurred; for example {names}",
        count=len(names), names=names[:3],
    )  # fmt: skip
    lines = [f"{image.edge_loss:.0%}" for image in rare]
    legend = "share of the differences between neighboring pixels that a further blur takes: small where edges are soft"
    return [("", evidence, partial(draw_cells, single(rare, lines), title="blurred images", legend=legend))]


def _blurred(members: list[ImageFile]) -> list[ImageFile]:
    """The blurred images of a class; none if a third of the class is soft."""
    losses = [image.edge_loss for image in members]
    if sum(loss < SOFT for loss in losses) >= SHARE * len(members):
        return []
    bound = min(SOFT, RELATIVE * median(losses))
    return [image for image in members if image.edge_loss < bound and image.contrast >= BLANK]
