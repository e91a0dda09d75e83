"""Classes with far fewer images than others."""

from convscope.training.checks.declaration import check
from convscope.training.checks.folder_evidence import VALIDATION_PARTS, FolderEvidence, groups
from convscope.values.facts import Fact

FACTOR, FEWEST = 5, 3


@check(
    "folder",
    title="class imbalance",
    looks_for="The largest class of the training images has five times as many images as the smallest, or a class has "
    "fewer than three.",
    cause="some classes are rarer in the world, or were collected less",
    remedy="weights = 1 / torch.bincount(labels)\n"
    "WeightedRandomSampler(weights[labels], len(labels))  # and report the accuracy of each class",
)
def class_imbalance(folder: FolderEvidence) -> list[tuple[str, Fact]]:
    """Compare the numbers of images of the classes."""
    training = [image for image in folder.images if image.part not in VALIDATION_PARTS and image.label]
    counts = {label: len(members) for label, members in groups(training, "label")}
    if len(counts) < 2:
        return []
    least, most = min(counts, key=lambda label: counts[label]), max(counts, key=lambda label: counts[label])
    if counts[most] < FACTOR * counts[least] and counts[least] >= FEWEST:
        return []
    evidence = Fact(
        "{most} has {most_count} images, {least} has {least_count}",
        most=most, most_count=counts[most], least=least, least_count=counts[least],
    )  # fmt: skip
    return [("", evidence)]
