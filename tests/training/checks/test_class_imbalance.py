"""Class imbalance: what is said of a folder without classes, and of one whose classes are all tiny."""

from pathlib import Path

import pytest
from PIL import Image

import convscope as cs


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("a.png", "b.png"), "since none has a class: put each class into its own folder"),
        (("cat/a.png", "cat/b.png"), "since all are of one class: put each class into its own folder"),
    ],
)
def test_a_folder_without_two_classes_is_one_sentence(names: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    write_images(tmp_path, names)
    diagnosis = cs.diagnose(data=tmp_path, checks=["class_imbalance"])
    assert list(diagnosis.skipped) == ["class_imbalance"]
    assert reason in str(diagnosis)


def test_classes_that_are_all_tiny(tmp_path: Path) -> None:
    write_images(tmp_path, ("cat/a.png", "dog/a.png", "dog/b.png"))
    (finding,) = cs.diagnose(data=tmp_path, checks=["class_imbalance"]).findings
    assert finding.evidence == "2 of 2 classes have fewer than 3 images; cat has 1"


def write_images(folder: Path, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (40 * number, 90, 0)).save(folder / name)
