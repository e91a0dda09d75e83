"""Damaged HDF5 files that would never end are noticed in a process of their own."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import pytest

from convscope.errors import LoadError
from convscope.loaders.keras import hdf5_probe
from convscope.loaders.keras.hdf5_file import open_hdf5
from convscope.loaders.keras.memory_file import memory_file

h5py = pytest.importorskip("h5py")


def small_file(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["name"] = "network"
        file.create_dataset("group/kernel", data=[[1.0, 2.0]], chunks=(1, 1))
    return path


def in_memory(path: Path) -> IO[bytes]:
    file = memory_file()
    file.write(path.read_bytes())
    file.seek(0)
    return file


def test_sound_files_end_well_from_a_path_and_from_memory(tmp_path: Path) -> None:
    path = small_file(tmp_path / "net.h5")
    assert hdf5_probe.ends_well(path)
    with in_memory(path) as file:
        assert hdf5_probe.ends_well(file)


def test_errors_of_the_library_are_left_to_the_reading(tmp_path: Path) -> None:
    path = small_file(tmp_path / "net.h5")
    path.write_bytes(path.read_bytes()[:600])
    assert hdf5_probe.ends_well(path)
    with pytest.raises(LoadError, match="is not a complete HDF5 file"), open_hdf5(path, "net.h5"):
        pass


@pytest.mark.parametrize("ending", ["crash", "endless"])
def test_crash_and_endless_walk_are_refused(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        if ending == "endless":
            raise subprocess.TimeoutExpired(command, 10)
        return subprocess.CompletedProcess(command, -11)

    monkeypatch.setattr(subprocess, "run", run)
    path = small_file(tmp_path / "net.h5")
    with pytest.raises(LoadError, match="does not end or crashes"), open_hdf5(path, "net.h5"):
        pass


def test_modules_in_the_working_folder_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_file(tmp_path / "net.h5")
    (tmp_path / "h5py.py").write_text("open('imported', 'w').close()")
    monkeypatch.chdir(tmp_path)
    assert hdf5_probe.ends_well(path)
    assert not (tmp_path / "imported").exists()


def test_a_file_in_memory_reaches_the_probe_without_one_on_disk(tmp_path: Path) -> None:
    """The fuzzer found a temporary file: Python's open reports what it opens, a file in memory opens nothing."""
    small_file(tmp_path / "net.h5")
    opened: list[str] = []
    listening = [True]
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" and listening else None)
    try:
        with in_memory(tmp_path / "net.h5") as file:
            assert hdf5_probe.ends_well(file)
    finally:
        listening.clear()
    folder = str(Path(tempfile.gettempdir()).resolve())
    assert [name for name in opened if name.startswith(folder)] == [str(tmp_path / "net.h5")]
