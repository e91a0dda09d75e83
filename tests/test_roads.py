"""Every cell of docs/roads.md is run: a lens works with the same numbers on every road, or refuses as the page says."""

import re

import pytest
import torch

import convscope as cs
from tests.families import families_of_every_network
from tests.roads import LENSES, PAGE, ROADS, Cell, Road, column, reasons

INSTALLED = [road for road in ROADS if road.is_installed]
REFERENCE = ROADS[0]


def computations(structure: cs.Structure) -> list[tuple[object, ...]]:
    """The operations that compute, in their order, up to names: moves of numbers differ between roads."""
    return [(o.kind, o.shape, o.flops, o.parameters) for o in structure.operations if o.flops]


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Cell]]:
    """The cells of every road that can be run here."""
    return {road.name: column(road, tmp_path_factory.mktemp("road")) for road in INSTALLED}


def table() -> dict[str, list[str]]:
    """The cells of the page by family, and its heading under ``""``."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row] for row in rows if not row[0].startswith("---")]
    return {family: cells[index][1:] for index, family in enumerate(["", *LENSES])}


def test_the_page_has_a_column_for_each_road_and_no_blank_cell() -> None:
    assert table()[""] == [road.name for road in ROADS]
    for family in LENSES:
        assert len(table()[family]) == len(ROADS)
        assert all(re.fullmatch(r"works|refuses \(\d+\)", cell) for cell in table()[family])


@pytest.mark.slow
@pytest.mark.parametrize("road", INSTALLED, ids=lambda road: road.name)
def test_the_column_of_a_road_is_what_it_does(road: Road, columns: dict[str, dict[str, Cell]]) -> None:
    listed = dict(re.findall(r"^(\d+)\. (.*)\.$", PAGE.read_text("utf-8"), re.MULTILINE))
    place = ROADS.index(road)
    for family, cell in columns[road.name].items():
        written = table()[family][place]
        number = re.search(r"\d+", written)
        assert (listed[number[0]] if number else "") == reasons(cell.refusal), family


@pytest.mark.parametrize("road", [road for road in INSTALLED[1:] if road.same], ids=lambda road: road.name)
def test_what_works_gives_the_numbers_of_the_torch_module(road: Road, columns: dict[str, dict[str, Cell]]) -> None:
    expected = columns[REFERENCE.name]
    compared = 0
    for family, cell in columns[road.name].items():
        if cell.refusal:
            continue
        value, own = expected[family].value, cell.value
        if family == "prediction":
            assert own.labels == value.labels
            assert own.scores == pytest.approx(value.scores, abs=1e-5)
        elif family == "structure":
            assert (own.parameters, own.flops) == (value.parameters, value.flops)
            assert computations(own) == computations(value)
        for name in value.arrays:
            numbers, others = getattr(value, name), getattr(own, name)
            if isinstance(numbers, torch.Tensor):
                assert numbers.abs().max() > 0
                assert (others - numbers).abs().max() <= 1e-4 * numbers.abs().max(), (family, name)
        compared += 1
    assert compared >= 2


def test_every_family_has_a_lens_in_the_table() -> None:
    assert list(LENSES) == families_of_every_network()


def test_the_torch_module_refuses_nothing(columns: dict[str, dict[str, Cell]]) -> None:
    assert {cell.refusal for cell in columns[REFERENCE.name].values()} == {""}
    assert torch.isfinite(columns[REFERENCE.name]["cam"].value.values).all()
