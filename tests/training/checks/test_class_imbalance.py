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


@pytest.mark.parametrize(
    ("names", "empty", "evidence"),
    [
        (("cat/a.png", "cat/b.png"), ("dog", ".cache"), "class folders without a readable image: dog"),
        (("train/cat/a.png", "val/dog/a.png"), ("train/dog", "train/eel", "val/cat"), "… dog, eel"),
    ],
)
def test_class_folders_without_images_are_named(
    names: tuple[str, ...], empty: tuple[str, ...], evidence: str, tmp_path: Path
) -> None:
    write_images(tmp_path, names)
    for name in empty:
        (tmp_path / name).mkdir(exist_ok=True)
    (finding,) = cs.diagnose(data=tmp_path, checks=["class_imbalance"]).findings
    assert finding.evidence == evidence.replace("…", "class folders without a readable image:")
    assert finding.picture is not None
    assert f"{(tmp_path / empty[0]).name} 0" in finding.picture().alt


def test_beside_an_empty_class_folder_the_other_classes_are_compared(tmp_path: Path) -> None:
    write_images(tmp_path, ("cat/a.png", "dog/a.png", "dog/b.png", "dog/c.png"))
    (tmp_path / "eel").mkdir()
    findings = cs.diagnose(data=tmp_path, checks=["class_imbalance"]).findings
    assert [finding.evidence for finding in findings] == [
        "class folders without a readable image: eel", "1 of 2 classes has fewer than 3 images; cat has 1"
    ]  # fmt: skip


def write_images(folder: Path, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (40 * number, 90, 0)).save(folder / name)
