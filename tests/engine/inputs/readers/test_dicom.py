"""DICOM files and series."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope.engine.inputs.input_files import read_input
from convscope.errors import InputError

pydicom = pytest.importorskip("pydicom")


def write_slice(path: Path, pixels: np.ndarray[Any, Any], z: float, series: str = "1.2.3") -> None:
    """One axial slice of a CT series at a height."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID = CTImageStorage, generate_uid(), series
    data.Modality, data.PatientName = "CT", "None"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-10, -20, z]
    data.PixelSpacing, data.RescaleSlope, data.RescaleIntercept = [0.5, 0.8], 2, -1000
    data.PixelData = pixels.astype(np.uint16).tobytes()
    data.save_as(path, enforce_file_format=True)


@pytest.fixture
def series(tmp_path: Path) -> tuple[Path, np.ndarray[Any, Any]]:
    """A folder with five slices, whose names are not in the order of their positions."""
    volume = np.random.default_rng(0).integers(0, 2000, (5, 4, 6))
    folder = tmp_path / "ct"
    folder.mkdir()
    for index, name in enumerate("cadbe"):
        write_slice(folder / f"{name}.dcm", volume[index], z=100 + 3 * index)
    return folder, volume


def test_slices_are_sorted_by_position_and_rescaled(series: tuple[Path, np.ndarray[Any, Any]]) -> None:
    folder, volume = series
    raw = read_input(folder)
    assert np.array_equal(raw.values[0], volume * 2.0 - 1000)
    assert raw.spacing == (3.0, 0.5, 0.8)
    assert raw.affine is not None
    position = raw.affine @ [2, 3, 5, 1]  # slice 2, row 3, column 5: (x, y, z) in the coordinates of DICOM
    assert position[:3].tolist() == pytest.approx([-(-10 + 5 * 0.8), -(-20 + 3 * 0.5), 106])


def test_a_missing_slice_is_named(series: tuple[Path, np.ndarray[Any, Any]]) -> None:
    folder, _ = series
    (folder / "d.dcm").unlink()
    with pytest.raises(InputError, match=r"a slice is missing in 'ct': 6 mm lie .*; copy all slices of the series"):
        read_input(folder)


def test_a_slice_that_is_there_twice_is_named(series: tuple[Path, np.ndarray[Any, Any]]) -> None:
    folder, _ = series
    (folder / "again.dcm").write_bytes((folder / "d.dcm").read_bytes())
    with pytest.raises(InputError, match=r"several slices of 'ct' lie at the same position \(slices \d and \d\)"):
        read_input(folder)


def test_several_series_are_listed(series: tuple[Path, np.ndarray[Any, Any]]) -> None:
    folder, volume = series
    write_slice(folder / "other.dcm", volume[0], z=0, series="9.9")
    with pytest.raises(InputError, match=r"holds 2 series: say which with \?series=… \(0: 5 slices; 1: 1 slices\)"):
        read_input(folder)
    assert read_input(f"{folder}?series=0").values.shape == (1, 5, 4, 6)
    assert read_input(f"{folder}?series=9.9").values.shape == (1, 1, 4, 6)


def test_one_file_is_a_picture(series: tuple[Path, np.ndarray[Any, Any]]) -> None:
    folder, volume = series
    raw = read_input(folder / "c.dcm")
    assert np.array_equal(raw.values[0], volume[0] * 2.0 - 1000)
    assert (raw.axes, raw.spacing) == (("height", "width"), (0.5, 0.8))


def test_the_real_folder_holds_two_series(assets: Path) -> None:
    with pytest.raises(InputError, match="holds 2 series"):
        read_input(assets / "medical/dicom")
    assert read_input(f"{assets}/medical/dicom?series=0").spacing[0] == pytest.approx(1.5)
