"""Help texts show brackets as they are."""

import re

import pytest

import convscope as cs
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
            printed_help = flat(run(spec.command, "--help").stdout)
            assert all(flat(text) in printed_help for text in helps), spec.command
