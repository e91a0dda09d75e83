"""Fixtures that run the command line in an empty folder, within this process or as a new process."""

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
class Completed:
    """The result of a command."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Completed]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run() -> Run:
    """Run a command within this process: ``run("grad-cam", "a.png", …)``, with ``input`` as bytes."""

    def run_(*words: str, input: bytes = b"") -> Completed:
        result = CliRunner().invoke(app(list(words)), list(words), input=input)
        assert "Traceback" not in result.stderr, result.stderr
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Completed(result.exit_code, result.stdout, result.stderr)

    return run_


@pytest.fixture
def command() -> list[str]:
    """The arguments that start the command line as a process."""
    return [sys.executable, "-c", START]


@pytest.fixture
def process(tmp_path: Path, command: list[str]) -> Run:
    """Run a command as a new process, optionally with ``env`` and ``input`` (bytes)."""

    def process_(*words: str, env: dict[str, str] | None = None, input: bytes = b"", **options: Any) -> Completed:
        result = subprocess.run(
            [*command, *words],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", **(env or {})},
            input=input,
            capture_output=True,
            check=False,
            **options,
        )
        stdout, stderr = result.stdout.decode("utf-8", "replace"), result.stderr.decode("utf-8", "replace")
        assert "Traceback" not in stderr, stderr
        return Completed(result.returncode, stdout, stderr)

    return process_


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Run a command that must exit with status 2, and return its one-line error message."""

    def refused_(*words: str, **options: Any) -> str:
        result = run(*words, **options)
        assert result.returncode == 2, result.stdout + result.stderr
        assert result.stdout == ""
        lines = [line for line in result.stderr.splitlines() if not line.startswith(("opening ", "note: "))]
        assert len(lines) == 1, result.stderr
        return lines[0].removeprefix("convscope: ")

    return refused_
