"""Uploads that would read other files of the server, or unpack without a limit."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest

from convscope.errors import InputError
from convscope.web.requests import uploads
from convscope.web.requests.uploads import receive

VOLUME = np.arange(24, dtype="<f4").reshape(2, 3, 4)
BOMB = gzip.compress(bytes(2**22))


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_NUMBERS", 1000)


def nrrd(*lines: str, content: bytes = b"", magic: str = "NRRD0004", end: str = "\n") -> bytes:
    pytest.importorskip("nrrd")
    head = [magic, "type: float", "dimension: 3", "sizes: 2 3 4", "endian: little", *lines]
    return end.join([*head, "", ""]).encode() + content


@pytest.mark.parametrize(
    "field", ["data file: {}", "datafile: {}", " datafile: {}", "datafile : {}", "data file := {}", "\tdatafile:{}"]
)
@pytest.mark.parametrize(("magic", "end"), [("NRRD0004", "\n"), ("NRRD0004", "\r\n"), ("NRRD 4", "\n")])
def test_the_numbers_of_a_volume_in_another_file_are_not_read(tmp_path: Path, field: str, magic: str, end: str) -> None:
    (tmp_path / "secret").write_bytes(VOLUME.tobytes())
    content = nrrd("encoding: raw", field.format(tmp_path / "secret"), magic=magic, end=end)
    with pytest.raises(InputError, match=r"'a.nrrd' keeps its numbers in another file"):
        receive("a.nrrd", content)


def test_further_pages_in_other_files_are_not_read(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pages = VOLUME.astype(np.float32)
    tifffile.imwrite(tmp_path / "secret.ome.tif", pages, photometric="minisblack", metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "a.ome.tif", pages[:1], photometric="minisblack", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        xml = file.ome_metadata
    elsewhere = f'<UUID FileName="{tmp_path / "secret.ome.tif"}">urn:uuid:1</UUID></TiffData>'
    xml = xml.replace('SizeZ="1"', 'SizeZ="2"').replace("</TiffData>", "")
    start, end = xml.index("<TiffData"), xml.index("/>", xml.index("<TiffData"))
    own, other = xml[start:end], xml[start:end].replace('FirstZ="0"', 'FirstZ="1"')
    other = other if other != own else own.replace("<TiffData", '<TiffData FirstZ="1"')
    xml = f"{xml[:start]}{own}/>{other}>{elsewhere}{xml[end + 2 :]}"
    tifffile.imwrite(tmp_path / "b.ome.tif", pages[:1], photometric="minisblack", description=xml, metadata=None)
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as file:
        assert file.series[0].is_multifile, "the library itself follows the name"
    with pytest.raises(InputError, match=r"'b.ome.tif' names other files"):
        receive("b.ome.tif", (tmp_path / "b.ome.tif").read_bytes())


@pytest.mark.parametrize(
    ("field", "end"), [("encoding: gzip", "\n"), ("encoding : gzip", "\n"), ("encoding:=gz", "\n")]
)
@pytest.mark.parametrize("content", [BOMB, gzip.compress(VOLUME.tobytes()) + BOMB], ids=["first", "second"])
def test_a_packed_volume_is_unpacked_up_to_a_limit(field: str, end: str, content: bytes) -> None:
    with pytest.raises(InputError, match=r"'a.nrrd' unpacks to more than 1,000 numbers"):
        receive("a.nrrd", nrrd(field, content=content, end=end))
    with pytest.raises(InputError, match=r"'a.nrrd' unpacks to more than 1,000 numbers"):
        receive("a.nrrd", nrrd(field, content=content, end="\r\n"))


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.dat"])
def test_all_members_of_a_packed_file_count(name: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    content = gzip.compress(nibabel.Nifti1Image(VOLUME, np.eye(4)).to_bytes())
    assert receive(name, content).is_measured
    with pytest.raises(InputError, match=f"'{name}' unpacks to more than 1,000 numbers"):
        receive(name, content + BOMB)


def test_skipped_bytes_are_refused() -> None:
    with pytest.raises(InputError, match="skips bytes"):
        receive("a.nrrd", nrrd("encoding: raw", f"line skip: {10**15}", content=VOLUME.tobytes()))


def test_a_deflated_slice_is_refused() -> None:
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    picture = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    picture.Rows, picture.Columns, picture.PixelData = 2000, 2000, bytes(2**23)
    file = io.BytesIO()
    picture.save_as(file)
    with pytest.raises(InputError, match=r"'a.dcm' is a deflated DICOM file"):
        receive("a.dcm", file.getvalue())


def test_a_damaged_table_of_pages_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"'a.tif' is damaged"):
        receive("a.tif", b"II*\0" + b"\xff" * 40)
