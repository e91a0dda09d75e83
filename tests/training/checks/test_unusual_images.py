"""What is unusual depends on the class of an image."""

from convscope.training.checks.folder_evidence import FolderEvidence, ImageFile
from convscope.training.checks.unusual_images import unusual_images


def test_a_class_that_is_often_dark_is_usual() -> None:
    images = [
        ImageFile(f"{label}/{number}.png", "", label, "", (12, 12), 0.01 if number < dark else 0.5, 0.1)
        for label, count, dark in (("night", 8, 5), ("day", 24, 1))
        for number in range(count)
    ]
    (finding,) = unusual_images.run(FolderEvidence(images))
    assert finding.evidence == "1 images are dark; for example day/0.png"
