"""NIfTI volumes."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from convscope.engine.inputs.input_files import read_input
from convscope.errors import InputError

nibabel = pytest.importorskip("nibabel")


def test_voxels_and_positions_are_those_of_the_file(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    affine = np.array([[-2, 0, 0, 10], [0, 0, 3, -5], [0, 1.5, 0, 7], [0, 0, 0, 1]], float)
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "scan.nii.gz")
    raw = read_input(tmp_path / "scan.nii.gz")
    assert np.array_equal(raw.values[0], array)
    assert raw.affine is not None
    assert np.array_equal(raw.affine, affine)
    assert (raw.spacing, raw.unit) == ((2, 1.5, 3), "mm")


def test_the_content_decides_whatever_the_name(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3), np.float32), np.eye(4)), tmp_path / "scan.nii")
    (tmp_path / "scan.nii").rename(tmp_path / "scan.dat")
    assert read_input(tmp_path / "scan.dat").values.shape == (1, 3, 3, 3)


def test_frames_must_be_chosen(tmp_path: Path) -> None:
    array = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "bold.nii")
    with pytest.raises(InputError, match=r"holds 5 frames: say which, as bold.nii\?frame=0 to 4"):
        read_input(tmp_path / "bold.nii")
    assert np.array_equal(read_input(f"{tmp_path}/bold.nii?frame=2").values[0], array[..., 2])
    assert read_input(f"{tmp_path}/bold.nii?frame=all").values.shape == (5, 2, 3, 4)
    with pytest.raises(InputError, match="got '9'"):
        read_input(f"{tmp_path}/bold.nii?frame=9")


def test_a_truncated_file_is_one_sentence(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((9, 9, 9), np.float32), np.eye(4)), tmp_path / "scan.nii")
    (tmp_path / "cut.nii").write_bytes((tmp_path / "scan.nii").read_bytes()[:900])
    with pytest.raises(InputError, match=r"cut.nii' is damaged"):
        read_input(tmp_path / "cut.nii")


def test_real_scans_open(assets: Path) -> None:
    assert read_input(assets / "medical/mni_icbm152_t1.nii.gz").values.shape == (1, 197, 233, 189)
    assert read_input(assets / "medical/ct_perfusion.nii.gz").values.shape == (3, 256, 286, 15), "colors are channels"
    with pytest.raises(InputError, match="holds 2 frames"):
        read_input(assets / "medical/example4d.nii.gz")


def test_no_more_is_unpacked_than_the_header_declares(tmp_path: Path) -> None:
    volume = nibabel.Nifti1Image(np.ones((2, 2, 2), np.float32), np.eye(4)).to_bytes()
    (tmp_path / "scan.dat").write_bytes(gzip.compress(volume + bytes(2**25)))
    tracemalloc.start()
    try:
        assert (read_input(tmp_path / "scan.dat").values == 1).all()
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_a_file_without_a_position_is_mentioned(tmp_path: Path) -> None:
    for name, affine, remark in (
        ("none", None, "the file names no position in space: the orientation LAS is assumed"),
        ("own", np.eye(4), ""),
    ):
        nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3), np.float32), affine), tmp_path / f"{name}.nii")
        assert read_input(tmp_path / f"{name}.nii").remark == remark
