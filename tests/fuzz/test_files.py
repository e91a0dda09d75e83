"""Mutated model files of every format are a model or one sentence: 500 of them here, more by ``make fuzz-files``."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h5py", reason="h5py is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from convscope.errors import LoadError
from tests.fuzz.files import opening, running
from tests.fuzz.files.originals import write_originals
from tests.fuzz.files.running import run_cases, warm_up

ROOT = Path(__file__).parents[2]
REFUSED_UNCHANGED = {"pickled", "source"}
"""Formats that run code, of which not even the unchanged file is opened."""


def test_five_hundred_mutated_files() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-m", "tests.fuzz.files", "500"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    assert re.search(r"^501 cases", run.stdout, re.MULTILINE), run.stdout[-4000:]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_originals(tmp_path_factory.mktemp("originals"))


def test_the_unchanged_files_open(originals: Any, tmp_path: Path) -> None:
    """Otherwise the mutations would test nothing but the refusal of one error."""
    for outcome in warm_up(originals, tmp_path / "unchanged"):
        expected = "sentence" if outcome.kind in REFUSED_UNCHANGED else "model"
        assert outcome.result == expected, outcome


def _import_foreign_code(path: Path) -> None:
    __import__("canary_module")


def _start_a_program(path: Path) -> None:
    subprocess.run(["true"], check=True)


def _read_beside_the_folder(path: Path) -> None:
    (path.parent.parent / "outside.bin").read_bytes()


def _take_memory(path: Path) -> None:
    assert bytearray(b"1") * (opening.SPARE_BYTES + 2**27)  # the system may take other pages back meanwhile


def _end_the_process(path: Path) -> None:
    os._exit(3)


def _hang(path: Path) -> None:
    import threading

    threading.Event().wait()


def _raise_several_lines(path: Path) -> None:
    raise LoadError("a sentence that is\nnone")


def _raise_another_error(path: Path) -> None:
    raise KeyError("layers")


@pytest.mark.parametrize(
    ("misbehave", "result", "text"),
    [
        (_import_foreign_code, "foreign code", "imports canary_module"),
        (_start_a_program, "foreign code", r"starts \['true'\]"),
        (_read_beside_the_folder, "foreign code", r"opens .*outside\.bin"),
        (_take_memory, "memory", "MiB for"),
        (_end_the_process, "crash", "ended with status 3"),
        (_hang, "hang", "no answer"),
        (_raise_several_lines, "no sentence", "none"),
        (_raise_another_error, "other error", "KeyError: 'layers'"),
    ],
)
def test_what_must_not_happen_is_found(
    originals: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    misbehave: Callable[[Path], None],
    result: str,
    text: str,
) -> None:
    monkeypatch.setattr(opening, "_open", lambda kind, path: misbehave(path))
    if result == "hang":
        monkeypatch.setattr(running, "WAIT_SECONDS", 0.5)
    (outcome,) = run_cases([("tfjs", 0)], originals, tmp_path)
    assert outcome.result == result
    assert re.search(text, outcome.text)
    assert outcome.is_wrong
