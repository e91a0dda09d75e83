"""Help texts and shell completion."""

import os
import re
from pathlib import Path

import pytest

import convscope as cs
from convscope.cli.completion import adapt_bash_completion
from convscope.cli.help_text import help_text


def flat(text: str) -> str:
    """A help text without frame and line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


@pytest.mark.parametrize("styled", [True, False])
def test_help_shows_addresses_with_brackets(process, styled: bool) -> None:
    done = process("grad-cam", "--help", env={"COLUMNS": "200", **({} if styled else {"NO_COLOR": "1"})})
    assert "a unit such as 'layer4[17]'" in flat(done.stdout)
    assert "\\[" not in done.stdout


def test_brackets_in_help_are_not_interpreted_as_markup(run, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.text import Text

    for text in ("layer4[17]", "layer[unit]", "[/x] [a-z] [#f] [@m]", "sizes [1, 2]"):
        assert Text.from_markup(help_text(text)).plain == text
    monkeypatch.setenv("COLUMNS", "400")
    for spec in cs.lenses():
        helps = [parameter.about.help for parameter in spec.parameters.values()]
        if any("[" in text for text in helps):
            shown = flat(run(spec.command, "--help").stdout)
            assert all(flat(text) in shown for text in helps), spec.command


def complete(process, *words: str) -> list[str]:
    """The completions for the last word in bash, which splits words at ``:`` and ``=``."""
    pieces = [piece for word in words for piece in (re.findall(r"[^:=]+|[:=]", word) or [""])]
    env = {"_CONVSCOPE_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(["convscope", *pieces])}
    return process(env=env | {"COMP_CWORD": str(len(pieces))}).stdout.split()


@pytest.mark.parametrize(
    ("words", "expected", "unexpected"),
    [
        (["grad-cam", "-m", ""], ["bundled:", "torchvision:", "net.py:"], ["digits"]),
        (["grad-cam", "-m", "bu"], ["bundled:digits", "bundled:shapes"], ["timm:"]),
        (["grad-cam", "-m", "bundled:"], ["digits", "shapes"], ["bundled:digits"]),
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
