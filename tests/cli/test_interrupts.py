"""Ctrl-C and closed pipes end the command without a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import convscope_start


def test_the_interrupt_handler_is_installed_before_the_package_is_imported() -> None:
    """Later interrupts are tested below; earlier ones occur during the start of Python itself."""
    script = "import sys; import convscope_start\nassert not [m for m in sys.modules if m.startswith('convscope.')]\n"
    script += "assert not {'typing', 'dataclasses', 'torch'} & {*sys.modules}"
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=False, env=_env())
    assert done.returncode == 0, done.stderr


def test_ctrl_c_during_import_exits_with_a_line_and_status_130(command: list[str]) -> None:
    """The interrupt is raised in the middle of an import."""
    script = (
        "import sys, signal, importlib.abc\n"
        "class Interrupting(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'convscope.values': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script + command[2], "lenses"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (130, "convscope: stopped\n", "")


def test_ctrl_c_during_computation_exits_with_a_line_and_status_130(tmp_path: Path, command: list[str]) -> None:
    words = ["rise", "sample:digits/3", "--model", "bundled:digits", "--samples", "4096"]
    with subprocess.Popen([*command, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("opening")
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert rest.splitlines()[-1] == "convscope: stopped"
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


def test_a_closed_output_pipe_ends_the_command_silently(command: list[str]) -> None:
    with subprocess.Popen([*command, "lenses"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        stderr = process.stderr.read()
    assert stderr == ""


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(convscope_start.__file__).parent)}
