"""Images that are both in the training and in the validation part."""

from functools import partial

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.folder_evidence import TRAINING_PARTS, FolderEvidence, groups
from convscope.training.checks.folder_pictures import draw_cells, together
from convscope.values.facts import Fact


@check(
    "folder",
    title="leak between training and validation",
    looks_for="A file of the validation part holds the same pixels as one of the training part.",
    cause="the data were split after they had been copied or augmented",
    remedy="path.unlink()  # in the validation part; then split by source, patient or scene, not by file",
    severity="error",
)
def split_leak(folder: FolderEvidence) -> list[Evidenced]:
    """Compare hashes of the pixels across parts."""
    leaked, copies = [], []
    for _, members in groups([image for image in folder.images if image.part], "digest"):
        held_out = [image for image in members if image.part not in TRAINING_PARTS]
        if held_out and len(held_out) < len(members):
            leaked += held_out
            trained = [image for image in members if image.part in TRAINING_PARTS]
            copies += [[image, *trained] for image in held_out]
    if not leaked:
        return []
    total = sum(1 for image in folder.images if image.part and image.part not in TRAINING_PARTS)
    evidence = Fact(
        "{count} of {total} validation images is a training image too: {names}"
        if len(leaked) == 1
        else "{count} of {total} validation images are training images too; for example {names}",
        count=len(leaked), total=total, names=[image.name for image in leaked[:3]],
    )  # fmt: skip
    title = "validation images beside the training images with the same pixels"
    return [("", evidence, partial(draw_cells, together(copies), title=title))]
