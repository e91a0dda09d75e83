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
    assert finding.evidence == "1 image is dark: day/0.png"


def test_an_image_of_one_color_is_blank_and_neither_dark_nor_bright() -> None:
    levels = {"black": (0.0, 0.0), "white": (1.0, 0.0), "night": (0.02, 0.03), "snow": (0.98, 0.03)}
    images = [ImageFile(f"{name}.png", "", "", "", (12, 12), *level) for name, level in levels.items()]
    images += [ImageFile(f"{number}.png", "", "", "", (12, 12), 0.5, 0.2) for number in range(8)]
    assert [finding.evidence for finding in unusual_images.run(FolderEvidence(images))] == [
        "1 image is dark: night.png",
        "1 image is bright: snow.png",
        "2 images are blank; for example black.png, white.png",
    ]
