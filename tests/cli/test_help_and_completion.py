"""Help as it was written, and what a shell offers while somebody types."""

import os
import re
from pathlib import Path

import pytest

import convscope as cs
from convscope.cli.completion import completing_in_bash
from convscope.cli.help_text import help_text


def flat(text: str) -> str:
    """Help without its frame and its line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


@pytest.mark.parametrize("styled", [True, False])
def test_help_shows_addresses_as_they_are_typed(process, styled: bool) -> None:
    done = process("grad-cam", "--help", env={"COLUMNS": "200", **({} if styled else {"NO_COLOR": "1"})})
    assert "a unit such as 'layer4[17]'" in flat(done.stdout)
    assert "\\[" not in done.stdout


def test_no_bracket_of_any_help_is_eaten(run, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.text import Text

    for written in ("layer4[17]", "layer[unit]", "[/x] [a-z] [#f] [@m]", "sizes [1, 2]"):
        assert Text.from_markup(help_text(written)).plain == written
    monkeypatch.setenv("COLUMNS", "400")
    for spec in cs.lenses():
        helps = [parameter.about.help for parameter in spec.parameters.values()]
        if any("[" in text for text in helps):
            shown = flat(run(spec.command, "--help").stdout)
            assert all(flat(text) in shown for text in helps), spec.command


def offered(process, *words: str) -> list[str]:
    """What bash is offered for the last word; bash itself takes words apart at ``:`` and ``=``."""
    pieces = [piece for word in words for piece in (re.findall(r"[^:=]+|[:=]", word) or [""])]
    env = {"_CONVSCOPE_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(["convscope", *pieces])}
    return process(env=env | {"COMP_CWORD": str(len(pieces))}).stdout.split()


@pytest.mark.parametrize(
    ("words", "among", "not_among"),
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
    process, tmp_path: Path, words: list[str], among: list[str], not_among: list[str]
) -> None:
    (tmp_path / "net.py").write_text(
        "raise SystemExit('never run for a completion')\ndef make(): ...\nclass Net: ...\n"
    )
    found = offered(process, *words)
    assert set(among) <= set(found)
    assert not set(not_among) & set(found)


@pytest.mark.parametrize("scheme", ["torchvision", "timm"])
def test_names_of_architectures_are_read_without_their_library(process, scheme: str) -> None:
    library = pytest.importorskip(f"convscope.loaders.{scheme}", reason="the loader is not there").library()
    listed = library.list_models() if scheme == "timm" else library.models.list_models(module=library.models)
    assert set(offered(process, "grad-cam", "-m", f"{scheme}:")) == set(listed)


def test_what_is_typed_between_other_words_is_put_together_as_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_CONVSCOPE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "convscope\ngrad-cam\n-m\na\n:\nb\n--layer\nc")
    monkeypatch.setenv("COMP_CWORD", "5")
    with completing_in_bash():
        assert os.environ["COMP_WORDS"].split("\n") == ["convscope", "grad-cam", "-m", "a:b", "--layer", "c"]
        assert os.environ["COMP_CWORD"] == "3"
        print("a:bc")  # noqa: T201
    assert capsys.readouterr().out == "bc\n"
