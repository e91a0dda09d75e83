"""Sound files as signals."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from convscope.engine.inputs.input_files import read_input
from convscope.errors import InputError


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8, np.float32])
def test_samples_lie_between_minus_one_and_one(tmp_path: Path, dtype: type) -> None:
    wave = np.sin(np.arange(100) / 5).astype(np.float32)
    scale = {np.int16: 32767, np.int32: 2**31 - 128, np.uint8: 127, np.float32: 1}[dtype]
    offset = 128 if dtype is np.uint8 else 0
    wavfile.write(tmp_path / "a.wav", 8000, (wave * scale + offset).round(0 if scale > 1 else 7).astype(dtype))
    raw = read_input(tmp_path / "a.wav")
    assert raw.values.shape == (1, 100)
    assert np.abs(raw.values[0] - wave).max() < 0.012
    assert (raw.axes, raw.spacing, raw.unit) == (("time",), (1 / 8000,), "s")


def test_stereo_is_two_channels_and_a_cut_file_is_named(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "a.wav", 8000, np.zeros((50, 2), np.int16))
    assert read_input(tmp_path / "a.wav").values.shape == (2, 50)
    (tmp_path / "b.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:30])
    with pytest.raises(InputError, match=r"b\.wav"):
        read_input(tmp_path / "b.wav")


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "silent.wav", 8000, np.zeros(0, np.int16))
    with pytest.raises(InputError, match=r"'silent\.wav' is empty: it holds no samples"):
        read_input(tmp_path / "silent.wav")
