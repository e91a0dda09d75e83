"""Images of a folder are read with the preparation of the networks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.training.checks.folder_evidence import read_folder


def test_grey_of_16_bits_and_transparent_pixels_have_the_brightness_that_networks_see(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 20_000, np.uint16)).save(tmp_path / "grey.png")
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(tmp_path / "clear.png")
    brightness = {image.name: image.brightness for image in read_folder(tmp_path).images}
    assert brightness == {"clear.png": 1.0, "grey.png": pytest.approx(78 / 255)}
