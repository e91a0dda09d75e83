"""Errors of the command-line parser are one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

SHAPES = ("--model", "bundled:shapes")


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
        (["grad-cam", "sample:shapes/7"], "--model is missing: a file such as net.keras, net.onnx or net.pt2, or "),
        (["grad-cam", *SHAPES], "IMAGE is missing: "),
        (["grad-cm"], "no such command 'grad-cm'; did you mean 'grad-cam'"),
        (["rise", "sample:shapes/7", *SHAPES, "--samples", "many"], "--samples must be a whole number, got 'many'"),
        (["rise", "sample:shapes/7", *SHAPES, "--samples", "0"], "--samples must be 2 to"),
        (
            ["integrated-gradients", "sample:shapes/7", *SHAPES, "--baseline", "wite"],
            "--baseline must be black, white, mean, blur or noise, got 'wite'; did you mean 'white'?",
        ),
        (["serve", "--port", "many"], "--port: "),
        (
            ["compare", "sample:shapes/7", "-m", "net.keras", "--model=net.onnx"],
            "--model is given several times, and takes one value; --beside names other models",
        ),
        (
            ["grad-cam", "sample:shapes/7", *SHAPES, "--target", "star", "--target", "heart"],
            "--target is given several times, and takes one value (",
        ),
    ],
)
def test_parser_errors_are_one_sentence(refused, words: list[str], sentence: str) -> None:
    assert refused(*words).startswith(sentence)


def test_the_package_is_a_command_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "convscope", "grad-cm"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("convscope: no such command 'grad-cm'; did you mean 'grad-cam'")


def test_the_command_without_arguments_shows_help(process) -> None:
    done = process()
    assert done.returncode == 0
    assert "grad-cam" in done.stdout
