"""NumPy files as inputs."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from convscope.engine.inputs.input_files import read_input
from convscope.errors import InputError


def test_npy_keeps_shape_and_numbers(tmp_path: Path) -> None:
    array = np.arange(24).reshape(2, 12)
    np.save(tmp_path / "a.npy", array)
    raw = read_input(tmp_path / "a.npy")
    assert raw.values.dtype == np.float32
    assert np.array_equal(raw.values, array)
    assert raw.axes == ()


def test_npz_needs_a_key_where_it_has_several_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", signal=np.ones((1, 5)), fs=360)
    assert read_input(tmp_path / "a.npz").values.shape == (1, 5), "single numbers are no candidates"
    np.savez(tmp_path / "b.npz", signal=np.ones((1, 5)), labels=np.zeros(5))
    with pytest.raises(InputError, match=r"holds 2 arrays: say which, as b.npz\?key=… \(signal, labels\)"):
        read_input(tmp_path / "b.npz")
    assert read_input(f"{tmp_path}/b.npz?key=signal").values.shape == (1, 5)
    with pytest.raises(InputError, match=r"no array 'sgnal'.*signal"):
        read_input(f"{tmp_path}/b.npz?key=sgnal")


def test_arrays_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    with pytest.raises(InputError, match="not numbers"):
        read_input(tmp_path / "text.npy")
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"'objects.npy' holds Python objects"):
        read_input(tmp_path / "objects.npy")
    np.save(tmp_path / "empty.npy", np.zeros((1, 0)))
    with pytest.raises(InputError, match="no numbers in it"):
        read_input(tmp_path / "empty.npy")


def test_an_archive_that_declares_too_much_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = b"\x93NUMPY\x01\x00"
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3000000000,), }"
    text += b" " * (118 - len(text)) + b"\n"
    (tmp_path / "huge.npy").write_bytes(header + len(text).to_bytes(2, "little") + text + bytes(100))
    with pytest.raises(InputError):
        read_input(tmp_path / "huge.npy")
    with zipfile.ZipFile(tmp_path / "cut.npz", "w") as archive:
        archive.writestr("a.npy", b"no array")
    with pytest.raises(InputError, match=r"cut\.npz"):
        read_input(tmp_path / "cut.npz")


def test_archives_are_packed_as_numpy_packs_them(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", signal=np.ones((1, 5)))
    assert read_input(tmp_path / "a.npz").values.shape == (1, 5)
    with (
        zipfile.ZipFile(tmp_path / "a.npz") as own,
        zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_BZIP2) as other,
    ):
        other.writestr("signal.npy", own.read("signal.npy"))
    with pytest.raises(InputError, match=r"'b.npz' is compressed as NumPy never does"):
        read_input(tmp_path / "b.npz")


@pytest.mark.parametrize("name", ["rows.npy", "rows.npz"])
def test_rows_of_different_lengths_are_refused_as_such(tmp_path: Path, name: str) -> None:
    rows = np.array([np.zeros(3), np.zeros(4)], dtype=object)
    (np.save if name.endswith("npy") else np.savez)(tmp_path / name, rows)
    with pytest.raises(
        InputError, match="holds Python objects, such as rows of different lengths: save an array of num"
    ):
        read_input(tmp_path / name)
