"""Images that are nearly black, nearly white, or of a single color."""

from collections.abc import Callable
from functools import partial

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.folder_evidence import FolderEvidence, ImageFile, groups
from convscope.training.checks.folder_pictures import draw_cells, single
from convscope.values.facts import Fact

DARK, BRIGHT, BLANK, SHARE = 0.04, 0.96, 0.01, 1 / 3


@check(
    "folder",
    title="dark, bright or blank images",
    looks_for="The mean grey level of an image is below 4 % or above 96 %, or its levels vary by less than 1 %, and "
    "fewer than a third of its class are like that.",
    cause="broken cameras, failed downloads, or lenses that were covered",
    remedy="path.unlink()  # after a look at each",
    severity="note",
)
def unusual_images(folder: FolderEvidence) -> list[Evidenced]:
    """Look at brightness and contrast; in a class that is often dark, as of photographs at night, it is not unusual.

    An image of a single color is blank, whatever its brightness.
    """
    kinds: dict[str, Callable[[ImageFile], bool]] = {
        "dark": lambda image: image.brightness < DARK and image.contrast >= BLANK,
        "bright": lambda image: image.brightness > BRIGHT and image.contrast >= BLANK,
        "blank": lambda image: image.contrast < BLANK,
    }
    findings: list[Evidenced] = []
    for kind, is_of_kind in kinds.items():
        rare = [image for _, members in groups(folder.images, "label") for image in _rare(members, is_of_kind)]
        if rare:
            names = [image.name for image in rare]
            evidence = Fact(
                "{count} image is {kind}: {names}"
                if len(names) == 1
                else "{count} images are {kind}; for example {names}",
                count=len(names), kind=kind, names=names[:3],
            )  # fmt: skip
            lines = [f"{image.brightness:.0%} ± {image.contrast:.1%}" for image in rare]
            legend = "mean and standard deviation of the grey levels"
            picture = partial(draw_cells, single(rare, lines), title=f"{kind} images", legend=legend)
            findings.append(("", evidence, picture))
    return findings


def _rare(members: list[ImageFile], is_of_kind: Callable[[ImageFile], bool]) -> list[ImageFile]:
    """The images of a kind among those of a class; none if a third of the class is like that."""
    images = [image for image in members if is_of_kind(image)]
    return images if len(images) < SHARE * len(members) else []
