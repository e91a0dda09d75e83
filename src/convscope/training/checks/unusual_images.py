"""Images that are nearly black, nearly white, or of a single color."""

from convscope.training.checks.declaration import check
from convscope.training.checks.folder_evidence import FolderEvidence
from convscope.values.facts import Fact

DARK, BRIGHT, BLANK = 0.04, 0.96, 0.01


@check(
    "folder",
    title="dark, bright or blank images",
    looks_for="The mean grey level of an image is below 4 % or above 96 %, or its levels vary by less than 1 %, and "
    "fewer than a third of its class are like that.",
    cause="broken cameras, failed downloads, or lenses that were covered",
    remedy="path.unlink()  # after a look at each",
    severity="note",
)
def unusual_images(folder: FolderEvidence) -> list[tuple[str, Fact]]:
    """Look at brightness and contrast; a data set that is mostly dark, as of digits, is not unusual."""
    kinds = {
        "dark": [image for image in folder.images if image.brightness < DARK],
        "bright": [image for image in folder.images if image.brightness > BRIGHT],
        "blank": [image for image in folder.images if image.contrast < BLANK],
    }
    return [
        (
            "",
            Fact(
                "{count} images are {kind}; for example {names}",
                count=len(images),
                kind=kind,
                names=[i.name for i in images[:3]],
            ),
        )
        for kind, images in kinds.items()
        if images and len(images) < len(folder.images) / 3
    ]
