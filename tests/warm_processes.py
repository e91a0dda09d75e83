"""Processes forked from one that has imported PyTorch and the engine, so that a new one need not wait for imports."""

import contextlib
import multiprocessing
import os
import sys
import traceback
import warnings
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRELOADED = "tests.warm_imports"
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([PRELOADED])


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status, and all that it wrote."""

    status: int
    output: str


def run_command(words: list[str], folder: Path) -> Ended:
    """Run the command ``convscope`` with these arguments, in that folder."""
    start = f"import sys, convscope_start; sys.argv = {['convscope', *words]!r}; convscope_start.main()"
    return run_code(start, folder)


def run_code(code: str, folder: Path) -> Ended:
    """Run Python code as ``python -W ignore -c CODE`` does, in that folder."""
    output = folder / f"output-{os.urandom(4).hex()}.txt"
    with contextlib.chdir(ROOT):  # Python 3.11 looks there for what the server preloads, and says nothing if it is not
        forkserver.ensure_running()
    process = CONTEXT.Process(target=_in_the_process, args=(code, folder, output))
    process.start()
    process.join()
    status = process.exitcode
    process.close()
    assert status is not None
    text = output.read_text("utf-8", errors="replace")
    output.unlink()
    return Ended(status, text)


def _in_the_process(code: str, folder: Path, output: Path) -> None:
    """What the process does: everything that it writes goes to the file."""
    assert PRELOADED in sys.modules, "the process was not forked from one that has imported everything"
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    warnings.simplefilter("ignore")
    sys.path[:0] = [""]
    sys.argv = ["-c"]
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
