"""The command as a process: interrupts, closed pipes, terminal encodings, invalid arguments."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import convscope_start

SHAPES = ("--model", "bundled:shapes")


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


def test_unsupported_characters_are_replaced(process) -> None:
    encoding = "ascii"
    done = process("grad-cam", "sample:shapes/7", *SHAPES, "--out", "a.json", env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert "explains crescent" in done.stdout
    assert process("grad-cam", "--help", env={"PYTHONIOENCODING": encoding}).returncode == 0


def test_json_is_the_same_for_limited_encodings(process) -> None:
    outputs = [
        process("lenses", "--json", env={"PYTHONIOENCODING": encoding}).stdout.encode().decode(encoding)
        for encoding in ("ascii", "utf-8")
    ]
    assert json.loads(outputs[0]) == json.loads(outputs[1])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["grad-cam", "sample:shapes/7", *SHAPES, "--targt", "star"],
            "convscope grad-cam has no option --targt; did you mean '--target'? (it has --model, ",
        ),
        (
            ["grad-cam", "sample:shapes/7", *SHAPES, "--target", "star", "--steps", "3"],
            "convscope grad-cam has no option --steps",
        ),
        (["grad-cam", "sample:shapes/7"], "--model is missing: "),
        (["grad-cam", *SHAPES], "IMAGE is missing: "),
        (["grad-cm"], "no such command 'grad-cm'; did you mean 'grad-cam'"),
        (["rise", "sample:shapes/7", *SHAPES, "--samples", "many"], "--samples must be a whole number, got 'many'"),
        (["rise", "sample:shapes/7", *SHAPES, "--samples", "0"], "--samples must be 2 to"),
        (
            ["integrated-gradients", "sample:shapes/7", *SHAPES, "--baseline", "wite"],
            "--baseline must be black, white, mean, blur or noise, got 'wite'; did you mean 'white'?",
        ),
        (["serve", "--port", "many"], "--port: "),
    ],
)
def test_parser_errors_are_one_sentence(refused, words: list[str], sentence: str) -> None:
    assert refused(*words).startswith(sentence)


def test_the_command_without_arguments_shows_help(process) -> None:
    done = process()
    assert done.returncode == 0
    assert "grad-cam" in done.stdout


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(convscope_start.__file__).parent)}
