"""Rows of a table: lists, dicts and files are brought into the order of the features and scaled."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.engine.inputs.preparation import read_images
from convscope.errors import InputError

SPEC = cs.TableInput(features=("age", "pulse"), mean=(50, 70), std=(10, 20))


def prepared(given: Any) -> Any:
    return read_images(given, SPEC, device=torch.device("cpu"), dtype=torch.float32)


def test_a_row_in_any_form_is_the_same_row(tmp_path: Path) -> None:
    (tmp_path / "row.csv").write_text("pulse,age\n90,60\n", "utf-8")
    np.save(tmp_path / "row.npy", np.array([60, 90]))
    for given in ([60, 90], {"pulse": 90, "age": 60}, "60,90", str(tmp_path / "row.csv"), tmp_path / "row.npy"):
        row = prepared(given)
        assert row.single
        assert row.tensor.tolist() == [[1.0, 1.0]]
    assert prepared([[60, 90], [50, 70]]).tensor.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert prepared([60, 90.5]).names == ("60,90.5",)
    assert prepared(torch.tensor([[0.5, 1.0]])).grids[0].channel_names == ("age", "pulse")


@pytest.mark.parametrize("row", [[0.123456789, 123456.789], [1e-7, -1e20], [-0.0, 16777216]])
def test_the_name_of_a_row_gives_its_numbers_again(row: list[float]) -> None:
    (name,) = prepared(row).names
    assert torch.equal(prepared(name).tensor, prepared(row).tensor)
    assert len(name) < 32


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 2, 3], "the row has 3 numbers, and the table of this network has 2 features"),
        ({"age": 1, "puls": 2}, "the row has no feature 'pulse'; did you mean 'puls'"),
        ({"age": 1, "pulse": 2, "sex": 0}, "the table has no feature 'sex'"),
        ([1, float("nan")], "the row holds NaN or infinite numbers"),
        (np.array(["60", "90"]), "the row holds <U2, not numbers"),
        ("71,x", "'x' is no number: write the row as numbers with commas"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared(given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "features are the names of the columns, or how many there are"),
        ({"features": ("age", "age")}, "features must have different names"),
        ({"features": 3, "mean": (1, 2)}, "mean has 2 numbers for 3 features"),
        ({"features": 2, "std": (1, 0)}, "std must be above zero"),
        ({"features": 2, "std": (1, -1)}, "std must be above zero"),
        ({"features": 2, "shape": (3,)}, "shape follows from features"),
    ],
)
def test_a_specification_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cs.TableInput(**options)


@pytest.mark.parametrize("options", [{}, {"smooth": 4}], ids=["plain", "averaged"])
def test_features_that_cancel_are_no_blank_map(options: dict[str, Any]) -> None:
    net = torch.nn.Linear(2, 2, bias=False)
    net.weight.data = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
    model = cs.Model(net, input=cs.TableInput(features=("age", "pulse")))
    row: Any = [1.0, 1.0]
    attribution: Any = cs.saliency(model, row, target=0, **options)
    assert float(attribution.values) == 0
    assert attribution.numbers.tolist() == attribution.channels.tolist() == [1, -1]
    assert not attribution.blank
    assert "blank" not in attribution.notes
    assert attribution.lines()[-1] == "values -1 to 1"
    nothing: Any = cs.saliency(model, row, target=1, **options)
    assert nothing.blank
    assert "blank" in nothing.notes
