"""TIFF files with bands."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from convscope.engine.inputs.input_files import read_input


@pytest.mark.parametrize(
    ("shape", "axes", "channels", "names"),
    [
        ((6, 5, 7), "CYX", 6, ("height", "width")),
        ((5, 7, 6), "YXC", 6, ("height", "width")),
        ((5, 7), "YX", 1, ("height", "width")),
        ((4, 5, 7), "ZYX", 1, ("depth", "height", "width")),
    ],
)
def test_axes_come_from_the_file(
    tmp_path: Path, shape: tuple[int, ...], axes: str, channels: int, names: tuple[str, ...]
) -> None:
    array = np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", metadata={"axes": axes})
    raw = read_input(tmp_path / "a.tif")
    assert len(raw.values) == channels
    assert raw.axes == names
    expected = np.moveaxis(array, axes.index("C"), 0) if "C" in axes else array[None]
    assert np.array_equal(raw.values, expected), "16 bits are kept"


def test_numbers_of_any_kind_are_kept(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    assert np.array_equal(read_input(tmp_path / "a.tif").values, array)
