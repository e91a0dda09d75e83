"""Pictures with the numbers of their pixels."""

from pathlib import Path

import numpy as np
from PIL import Image

from convscope.engine.inputs.input_files import read_input


def test_pixels_are_kept_as_they_are_stored(tmp_path: Path) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(colors).save(tmp_path / "a.png")
    assert np.array_equal(read_input(tmp_path / "a.png").values, colors.transpose(2, 0, 1))
    deep = np.random.default_rng(0).integers(0, 65536, (5, 7), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "b.png")
    assert np.array_equal(read_input(tmp_path / "b.png").values[0], deep), "16 bits are kept"
    Image.fromarray(colors).quantize(8).save(tmp_path / "c.png")
    assert read_input(tmp_path / "c.png").values.shape == (3, 5, 7), "a palette becomes colors"
