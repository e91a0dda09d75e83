"""Findings about a folder show the images that they name, and the distributions that they compare."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.training.checks.folder_evidence import read_folder
from convscope.training.checks.folder_pictures import draw_cells, single
from tests.training.checks import folder_cases
from tests.training.checks.cases import CHECK

OF_NAMED_IMAGES = (
    "split_leak",
    "exact_duplicates",
    "near_duplicates",
    "similar_features",
    "unusual_images",
    "blurred_images",
)
OF_GROUPS = {
    "class_imbalance": "training images of each class",
    "part_drift": "validation",
    "telling_properties": "of the images of each class",
    "feature_drift": "nearest are of validation too",
    "unusual_sizes": "pixels",
}


@pytest.mark.parametrize("name", [*OF_NAMED_IMAGES, *OF_GROUPS])
def test_the_picture_shows_what_the_evidence_says(name: str, tmp_path: Path) -> None:
    finding = CHECK[name].run(getattr(folder_cases, name)(0, tmp_path / "images"))[0]
    assert finding.picture is not None
    picture = finding.picture()
    if name in OF_NAMED_IMAGES:
        names = finding.evidence.parameters["names"]
        assert names
        assert [image for image in names if image not in picture.alt] == []
    else:
        assert OF_GROUPS[name] in picture.alt


def test_the_pixels_of_an_image_are_drawn_and_the_name_alone_once_it_was_moved(tmp_path: Path) -> None:
    Image.new("RGB", (10, 20), (255, 0, 128)).save(tmp_path / "pink.png")
    images = read_folder(tmp_path).images

    def pink_pixels() -> int:
        picture = draw_cells(single(images, ["10×20 pixels"]), title="images")
        assert picture.alt == "images: pink.png, 10×20 pixels."
        return int((picture.pixels[..., :3] == np.array([255, 0, 128])).all(2).sum())

    assert pink_pixels() == 140 * 70
    (tmp_path / "pink.png").unlink()
    assert pink_pixels() == 0


def test_of_many_images_the_first_are_drawn_and_their_number_is_said(tmp_path: Path) -> None:
    for number in range(14):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number:02}.png")
    alt = draw_cells(single(read_folder(tmp_path).images), title="images").alt
    assert "11.png" in alt
    assert "12.png" not in alt
