"""Files that have the name of an image and cannot be read as one."""

from convscope.training.checks.declaration import check
from convscope.training.checks.folder_evidence import FolderEvidence
from convscope.values.facts import Fact


@check(
    "folder",
    title="unreadable images",
    looks_for="A file whose name ends as that of an image cannot be read.",
    cause="downloads that were cut off, or files of another kind with the wrong name; a training leaves them out, or "
    "fails",
    remedy="path.unlink()  # or fetch the file again",
)
def unreadable_images(folder: FolderEvidence) -> list[tuple[str, Fact]]:
    """Count the files that could not be opened, and say why the first could not."""
    if not folder.unreadable:
        return []
    name, reason = next(iter(folder.unreadable.items()))
    evidence = Fact(
        "{count} of {total} files cannot be read; for example {name}: {reason}",
        count=len(folder.unreadable), total=len(folder.unreadable) + len(folder.images), name=name, reason=reason,
    )  # fmt: skip
    return [("", evidence)]
