"""Series of DICOM slices uploaded as a ZIP archive, within bounds."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope.engine.inputs.raw_input import RawInput
from convscope.errors import InputError
from convscope.web.requests import uploads, zip_uploads
from convscope.web.requests.temporary_files import MEMORY
from convscope.web.requests.uploads import receive
from convscope.web.requests.zip_uploads import grouped, zip_of
from tests.web.browsing import visit  # noqa: F401

pytest.importorskip("pydicom")
from tests.engine.inputs.readers.test_dicom import write_slice

VOLUME = np.random.default_rng(0).integers(0, 2000, (4, 5, 6))


def slices(folder: Path) -> dict[str, bytes]:
    for index, pixels in enumerate(VOLUME):
        write_slice(folder / f"{9 - index}.dcm", pixels, z=3.0 * index)
    return {f"ct/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.dcm"))}


def test_an_archive_of_slices_is_one_volume_and_leaves_no_file(tmp_path: Path) -> None:
    before = set(MEMORY.glob("convscope-*"))
    upload = receive("ct.zip", zip_of(slices(tmp_path) | {"ct/readme.txt": b"no slice", "../../x.dcm": b"no slice"}))
    raw = upload.opened(measured=True)
    assert isinstance(raw, RawInput)
    np.testing.assert_array_equal(raw.values[0], VOLUME * 2.0 - 1000)
    assert (upload.kinds, raw.title, raw.spacing) == (("volume",), "'ct.zip'", (3.0, 0.5, 0.8))
    assert set(MEMORY.glob("convscope-*")) <= before


def test_a_missing_slice_and_archives_of_other_files_are_refused(tmp_path: Path) -> None:
    files = slices(tmp_path)
    with pytest.raises(InputError, match=r"a slice is missing in 'ct\.zip'"):
        receive("ct.zip", zip_of({name: content for name, content in files.items() if "8" not in name}))
    with pytest.raises(InputError, match="holds no DICOM slices"):
        receive("ct.zip", zip_of({"a.txt": b"text"}))
    with pytest.raises(InputError, match="damaged"):
        receive("ct.zip", zip_of(files)[:-300])


def test_archives_beyond_the_bounds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.dcm", bytes(2**22))
    monkeypatch.setattr(uploads, "MAX_UNPACKED", 2**20)
    with pytest.raises(InputError, match="unpacks to more than a series may have"):
        receive("ct.zip", packed.getvalue())
    monkeypatch.setattr(zip_uploads, "MAX_SLICES", 3)
    with pytest.raises(InputError, match="holds 4 files, more than 3"):
        receive("ct.zip", zip_of(slices(tmp_path)))


def test_slices_that_are_chosen_together_are_one_archive(tmp_path: Path) -> None:
    files = {name.removeprefix("ct/"): content for name, content in slices(tmp_path).items()}
    ((name, content),) = grouped(files).items()
    raw = receive(name, content).opened(measured=True)
    assert isinstance(raw, RawInput)
    np.testing.assert_array_equal(raw.values[0], VOLUME * 2.0 - 1000)
    photos = {"a.png": b"", "b.dcm": b""}
    assert grouped(photos) == photos


def test_slices_that_are_dropped_on_the_page_are_explained(visit: Any, tmp_path: Path) -> None:  # noqa: F811
    slices(tmp_path)
    page = visit("/look?model=bundled:nodules&lens=saliency")
    page.set_input_files(".drop input[type=file]", sorted(tmp_path.glob("*.dcm")))
    page.wait_for_function("(new URL(location.href).searchParams.get('image') || '').startsWith('upload:')")
    page.wait_for_selector(".card.wide .picture:not(.busy) figure.value img")
    assert page.get_by_title("4 slices.zip").is_visible()
