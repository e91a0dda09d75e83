"""Running the command line as people do: a process of its own, in an empty folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

START = "import sys; sys.argv[0] = 'convscope'; from convscope_start import main; main()"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command() -> list[str]:
    """The words with which a shell starts the command line."""
    return [sys.executable, "-c", START]


@pytest.fixture
def run(tmp_path: Path, command: list[str]) -> Run:
    """Run a command to its end: ``run("grad-cam", "a.png", …)``, with ``env`` and ``input`` (bytes) where wanted."""

    def run_(*words: str, env: dict[str, str] | None = None, input: bytes = b"", **options: Any) -> Any:
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
        return subprocess.CompletedProcess(done.args, done.returncode, *told)

    return run_


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
