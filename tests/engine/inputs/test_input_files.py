"""Addresses of input files and how their format is found."""

from pathlib import Path

import numpy as np
import pytest

from convscope.engine.inputs.input_files import read_input, split_address
from convscope.errors import InputError


def test_options_follow_a_question_mark(tmp_path: Path) -> None:
    assert split_address("a/scan.nii.gz?frame=3&x=a%26b") == (Path("a/scan.nii.gz"), {"frame": "3", "x": "a&b"})
    np.save(tmp_path / "what?x=1.npy", np.ones((1, 3)))
    assert read_input(tmp_path / "what?x=1.npy").values.shape == (1, 3), "a file whose name has a question mark"
    with pytest.raises(InputError, match=r"written \?name=value&name=value, got 'frame'"):
        split_address("scan.nii?frame")


def test_unknown_options_and_formats_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((1, 3)))
    with pytest.raises(InputError, match="a NumPy array, which has no option 'frame'"):
        read_input(f"{tmp_path}/a.npy?frame=1")
    (tmp_path / "a.xyz").write_text("?")
    with pytest.raises(InputError, match="not of a known format"):
        read_input(tmp_path / "a.xyz")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder holds no file of a known format"):
        read_input(tmp_path / "folder")
    with pytest.raises(InputError, match="no such file"):
        read_input(tmp_path / "missing.npy")


def test_the_content_decides_over_the_extension(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((1, 3)))
    (tmp_path / "a.npy").rename(tmp_path / "a.csv")
    assert read_input(tmp_path / "a.csv").values.shape == (1, 3)


def test_samples_are_inputs() -> None:
    raw = read_input("sample:shapes/7")
    assert (raw.values.shape, raw.axes) == ((3, 96, 96), ("height", "width"))
