"""The same image several times."""

from collections.abc import Sequence
from functools import partial

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.folder_evidence import FolderEvidence, ImageFile, groups
from convscope.training.checks.folder_pictures import draw_cells, together
from convscope.values.facts import Fact


@check(
    "folder",
    title="exact duplicates",
    looks_for="Two files of one part of the folder hold the same pixels.",
    cause="files were copied, or downloaded twice; in two classes, one of the labels is wrong",
    remedy="path.unlink()  # all but one of each group; python: cs.diagnose(data=folder)",
    severity="note",
)
def exact_duplicates(folder: FolderEvidence) -> list[Evidenced]:
    """Compare hashes of the pixels within each part."""
    repeated = [
        members
        for _, part in groups(folder.images, "part")
        for _, members in groups(part, "digest")
        if len(members) > 1
    ]
    if not repeated:
        return []
    return [("", _evidence(repeated), partial(draw_cells, together(repeated), title="files with the same pixels"))]


def _evidence(repeated: Sequence[Sequence[ImageFile]]) -> Fact:
    """How many images there are more than once, and the files of the first."""
    names = [image.name for image in repeated[0][:3]]
    conflicting = sum(len({image.label for image in members}) > 1 for members in repeated)
    if len(repeated) == 1:
        return Fact(
            "{count} image is there more than once, with different classes: {names}" if conflicting else
            "{count} image is there more than once: {names}", count=1, names=names,
        )  # fmt: skip
    return Fact(
        "{count} images are there more than once, {conflicting} of them with different classes; for example {names}",
        count=len(repeated), conflicting=conflicting, names=names,
    )  # fmt: skip
