"""Shell completion of values, architectures and split words."""

import os
import re
from pathlib import Path

import pytest

from convscope.cli.completion import adapt_bash_completion
from convscope.samples.bundled import NAMES


def complete(process, *words: str) -> list[str]:
    """The completions for the last word in bash, which splits words at ``:`` and ``=``."""
    pieces = [piece for word in words for piece in (re.findall(r"[^:=]+|[:=]", word) or [""])]
    env = {"_CONVSCOPE_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(["convscope", *pieces])}
    return process(env=env | {"COMP_CWORD": str(len(pieces))}).stdout.split()


@pytest.mark.parametrize(
    ("words", "expected", "unexpected"),
    [
        (["grad-cam", "-m", ""], ["bundled:", "torchvision:", "net.py:"], ["digits"]),
        (
            ["grad-cam", "-m", "bu"],
            [f"bundled:{name}" for name in NAMES],
            ["timm:"],
        ),
        (["grad-cam", "-m", "bundled:"], NAMES, ["bundled:digits"]),
        (["grad-cam", "-m", "net.py:"], ["make", "Net"], ["_hidden"]),
        (["serve", "--model=bundled:sh"], ["shapes"], ["digits"]),
        (["grad-cam", "-m", "bundled:shapes", "--layer", "layer3.1"], ["layer3.1.conv1"], ["layer2", "layer1"]),
        (["top-inputs", "-m", "bundled:shapes", "--unit", "layer3.1.c"], ["layer3.1.conv2"], ["layer2"]),
        (["compare", "a.png", "--lenses", "sal"], ["saliency"], ["grad-cam"]),
        (["report", "a.png", "--lenses", "grad-cam,grad"], ["grad-cam,grad-cam-plus-plus"], ["grad-cam,grad-cam"]),
        (["integrated-gradients", "--baseline", "b"], ["black", "blur"], ["white"]),
        (["recommend", "a.png", "--question", "sh"], ["shares"], ["class"]),
    ],
)
def test_values_are_completed(
    process, tmp_path: Path, words: list[str], expected: list[str], unexpected: list[str]
) -> None:
    (tmp_path / "net.py").write_text(
        "raise SystemExit('never run for a completion')\ndef make(): ...\nclass Net: ...\n"
    )
    completions = complete(process, *words)
    assert set(expected) <= set(completions)
    assert not set(unexpected) & set(completions)


@pytest.mark.parametrize("scheme", ["torchvision", "timm"])
def test_architectures_are_completed_without_importing_their_library(process, scheme: str) -> None:
    library = pytest.importorskip(f"convscope.loaders.{scheme}", reason="the loader is missing").library()
    listed = library.list_models() if scheme == "timm" else library.models.list_models(module=library.models)
    assert set(complete(process, "grad-cam", "-m", f"{scheme}:")) == set(listed)


def test_split_words_are_joined_in_the_middle_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_CONVSCOPE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "convscope\ngrad-cam\n-m\na\n:\nb\n--layer\nc")
    monkeypatch.setenv("COMP_CWORD", "5")
    with adapt_bash_completion():
        assert os.environ["COMP_WORDS"].split("\n") == ["convscope", "grad-cam", "-m", "a:b", "--layer", "c"]
        assert os.environ["COMP_CWORD"] == "3"
        print("a:bc")  # noqa: T201
    assert capsys.readouterr().out == "bc\n"
