"""Every cell of docs/inputs.md is run: a lens works on a kind of input, or refuses as the page says."""

import re
from pathlib import Path

import pytest
import torch

from tests.input_kinds import (
    END,
    FORMATS_END,
    FORMATS_START,
    KINDS,
    LENSES,
    PAGE,
    START,
    Kind,
    between,
    formats,
    reason,
    run,
)
from tests.lens_calls import collect_tensors


def table() -> dict[str, list[str]]:
    """The cells of the page by family, and its heading under ``""``."""
    lines = between(PAGE.read_text("utf-8"), START, END).splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in row] for row in rows if not row[0].startswith("---")]
    return {family: cells[index][1:] for index, family in enumerate(["", *LENSES])}


def test_the_page_has_a_column_for_each_kind_and_no_blank_cell() -> None:
    cells = table()
    assert cells.pop("") == [kind.name for kind in KINDS]
    assert all(re.fullmatch(r"works|refuses \(\d+\)", cell) for row in cells.values() for cell in row)


def test_the_page_lists_the_formats_of_files() -> None:
    assert between(PAGE.read_text("utf-8"), FORMATS_START, FORMATS_END) == formats()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("family", LENSES)
def test_a_lens_does_what_the_page_says(family: str, kind: Kind, tmp_path: Path) -> None:
    listed = dict(re.findall(r"^(\d+)\. (.*)\.$", PAGE.read_text("utf-8"), re.MULTILINE))
    cell, written = run(family, kind, tmp_path), table()[family][KINDS.index(kind)]
    number = re.search(r"\d+", written)
    assert (listed[number[0]] if number else "") == (reason(cell.refusal) if cell.refusal else "")
    if cell.refusal:
        return
    values = cell.value if isinstance(cell.value, list) else [cell.value]
    for value in values:
        assert all(bool(torch.isfinite(tensor).all()) for tensor in collect_tensors(value).values())
        assert value.picture().png(), "it can be drawn"
