"""NRRD volumes."""

from pathlib import Path

import numpy as np
import pytest

from convscope.engine.inputs.input_files import read_input
from convscope.errors import InputError

nrrd = pytest.importorskip("nrrd")


def test_positions_are_turned_to_those_of_nifti(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag([2.0, 3.0, 4.0]),
        "space origin": np.array([1.0, 2.0, 3.0]),
    }
    nrrd.write(str(tmp_path / "scan.nrrd"), array, header)
    raw = read_input(tmp_path / "scan.nrrd")
    assert np.allclose(raw.values[0], array)
    assert raw.affine is not None
    assert np.allclose(raw.affine, [[-2, 0, 0, -1], [0, -3, 0, -2], [0, 0, 4, 3], [0, 0, 0, 1]])
    assert raw.spacing == (2, 3, 4)


def test_numbers_outside_its_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.nhdr").write_text(
        "NRRD0004\ntype: float\ndimension: 3\nsizes: 2 2 2\nencoding: raw\nendian: little\ndata file: ../secret.raw\n\n"
    )
    with pytest.raises(InputError, match="outside its own folder"):
        read_input(tmp_path / "a.nhdr")


@pytest.mark.parametrize("field", ["datafile: ../secret.raw", " datafile : /etc/hostname", "data file:=/etc/hostname"])
def test_no_spelling_of_the_field_leads_outside(tmp_path: Path, field: str) -> None:
    (tmp_path / "a.nhdr").write_text(
        f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: own.raw\n{field}\n\n"
        if "datafile" in field
        else f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n{field}\n\n"
    )
    with pytest.raises(InputError, match="outside its own folder"):
        read_input(tmp_path / "a.nhdr")
