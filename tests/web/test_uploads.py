"""Uploaded signals, volumes, bands and clips: read in memory, and refused where a reader could be misused."""

import gzip
import io
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from convscope.engine.inputs.input_files import read_input
from convscope.engine.inputs.raw_input import RawInput
from convscope.errors import InputError
from convscope.web.requests import uploads
from convscope.web.requests.temporary_files import MEMORY
from convscope.web.requests.uploads import receive

SIGNAL = np.random.default_rng(0).normal(size=(2, 60)).astype(np.float32)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def wav() -> bytes:
    file = io.BytesIO()
    wavfile.write(file, 100, SIGNAL.T)
    return file.getvalue()


def nifti(values: np.ndarray) -> bytes:
    nibabel = pytest.importorskip("nibabel")
    return gzip.compress(nibabel.Nifti1Image(values, np.diag([2.0, 1.0, 1.0, 1.0])).to_bytes())


def tiff(**options: Any) -> bytes:
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, np.arange(5 * 8 * 9, dtype=np.float32).reshape(5, 8, 9), photometric="minisblack", **options)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, beat=SIGNAL)
    return file.getvalue()


def slice_of_scan() -> bytes:
    dicom = pytest.importorskip("pydicom")
    meta = dicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = dicom.uid.ExplicitVRLittleEndian
    picture = dicom.dataset.FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    picture.Rows, picture.Columns, picture.SamplesPerPixel, picture.PhotometricInterpretation = 3, 4, 1, "MONOCHROME2"
    picture.BitsAllocated, picture.BitsStored, picture.HighBit, picture.PixelRepresentation = 16, 16, 15, 0
    picture.PixelData = np.arange(12, dtype="<u2").tobytes()
    file = io.BytesIO()
    picture.save_as(file)
    return file.getvalue()


def packed_volume() -> bytes:
    pytest.importorskip("nrrd")
    return nrrd("encoding: gzip", "endian: little", content=gzip.compress(VOLUME.astype("<f4").tobytes("F")))


def clip() -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(np.full((8, 9, 3), 40 * level, np.uint8)) for level in range(5)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=50)
    return file.getvalue()


def table() -> bytes:
    rows = "\n".join(",".join(f"{value:.6f}" for value in row) for row in SIGNAL.T)
    return f"a,b\n{rows}\n".encode()


VOLUME = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
TAKEN = {
    "beat.npy": (lambda: npy(SIGNAL), (), SIGNAL),
    "beat.wav": (wav, ("signal",), SIGNAL),
    "beat.csv": (table, ("signal", "vector"), SIGNAL),
    "scan.nii.gz": (lambda: nifti(VOLUME), ("volume",), VOLUME[None]),
    "series.nii.gz?frame=1": (lambda: nifti(np.stack([VOLUME, 2 * VOLUME], -1)), ("volume",), 2 * VOLUME[None]),
    "bands.tif": (tiff, ("image", "volume"), np.arange(360, dtype=np.float32).reshape(5, 8, 9)),
    "beats.npz": (npz, (), SIGNAL),
    "scan.nrrd": (packed_volume, ("volume",), VOLUME[None]),
    "slice.dcm": (slice_of_scan, ("image", "volume"), np.arange(12.0).reshape(1, 3, 4)),
    "clip.gif": (clip, ("image", "video"), None),
}


@pytest.mark.parametrize("name", TAKEN)
def test_numbers_are_read_from_memory_and_leave_no_file(name: str) -> None:
    make, kinds, expected = TAKEN[name]
    before = set(MEMORY.glob("convscope-*"))
    upload = receive(name, make())
    raw = upload.opened(measured=True)
    assert isinstance(raw, RawInput)
    assert upload.kinds == kinds
    assert raw.title == repr(name)
    if expected is not None:
        np.testing.assert_allclose(raw.values, expected, atol=1e-5)
    assert set(MEMORY.glob("convscope-*")) <= before


def test_a_clip_is_also_a_picture_and_a_picture_also_numbers() -> None:
    assert isinstance(receive("clip.gif", clip()).opened(), Image.Image)
    file = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), 7, np.uint8)).save(file, "PNG")
    raw = receive("photo.png", file.getvalue()).opened(measured=True)
    assert raw.values.shape == (3, 4, 6)
    assert (raw.values == 7).all()


def test_an_uploaded_picture_has_the_numbers_of_the_file(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (5, 7), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    raw = receive("deep.png", (tmp_path / "deep.png").read_bytes()).opened(measured=True)
    assert np.array_equal(raw.values, read_input(tmp_path / "deep.png").values)


def test_an_image_of_floating_point_numbers_is_for_networks_of_bands_only() -> None:
    upload = receive("height.tif", tiff())
    assert not upload.is_picture
    assert upload.opened().values.shape == (5, 8, 9)  # type: ignore[union-attr]


def nrrd(*lines: str, content: bytes = b"") -> bytes:
    head = ["NRRD0004", "type: float", "dimension: 3", "sizes: 2 3 4", *lines]
    return "\n".join([*head, "", ""]).encode() + content


def too_large_volume() -> bytes:
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, 3000, 3000, 3000, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 16, 32)
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header))


REFUSED = {
    "code.npy": (lambda: npy(np.zeros(1, "V8"))[:-8] + pickle.dumps(print), "not numbers|damaged"),
    "scan.nii.gz": (lambda: nifti(VOLUME)[:-30], "damaged"),
    "huge.nii.gz": (too_large_volume, "27,000,000,000 numbers"),
    "frames.nii.gz": (lambda: nifti(np.stack([VOLUME, VOLUME], -1)), "say which, as frames.nii.gz.frame=0"),
    "elsewhere.nrrd": (lambda: nrrd("encoding: raw", "data file: /etc/passwd"), "in another file"),
    "packed.tif": (lambda: tiff(compression="zlib"), "'packed.tif' is compressed: save it without"),
    "words.csv": (lambda: b"one,two\nthree,four\n", "words.csv"),
    "notes.txt": (lambda: b"no numbers", "no image of a kind"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_safely_is_refused_in_one_sentence(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as refusal:
        receive(name, make())
    assert "\n" not in str(refusal.value)
    assert str(MEMORY) not in str(refusal.value)


def test_numbers_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_NUMBERS", 1000)
    with pytest.raises(InputError, match="5,000 numbers"):
        receive("large.npy", npy(np.zeros(5000, np.float32)))
