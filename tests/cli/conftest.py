"""Running the command line in an empty folder: in this process, or in one of its own where that matters."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from convscope.cli import app

START = "import sys; sys.argv[0] = 'convscope'; from convscope_start import main; main()"


@dataclass(frozen=True)
class Done:
    """A command that ran to its end."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run() -> Run:
    """Run a command to its end within this process: ``run("grad-cam", "a.png", …)``, with ``input`` as bytes."""

    def run_(*words: str, input: bytes = b"") -> Done:
        done = CliRunner().invoke(app(list(words)), list(words), input=input)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    return run_


@pytest.fixture
def command() -> list[str]:
    """The words with which a shell starts the command line."""
    return [sys.executable, "-c", START]


@pytest.fixture
def process(tmp_path: Path, command: list[str]) -> Run:
    """Run a command to its end as a process of its own, with ``env`` and ``input`` (bytes) where wanted."""

    def process_(*words: str, env: dict[str, str] | None = None, input: bytes = b"", **options: Any) -> Done:
        done = subprocess.run(
            [*command, *words],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", **(env or {})},
            input=input,
            capture_output=True,
            check=False,
            **options,
        )
        told = (done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))
        assert "Traceback" not in told[1], told[1]
        return Done(done.returncode, *told)

    return process_


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Run a command that must be refused, with the status 2; the one sentence that says why."""

    def refused_(*words: str, **options: Any) -> str:
        done = run(*words, **options)
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stdout == ""
        last = [line for line in done.stderr.splitlines() if not line.startswith(("opening ", "note: "))]
        assert len(last) == 1, done.stderr
        return last[0].removeprefix("convscope: ")

    return refused_
