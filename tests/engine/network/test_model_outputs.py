"""What is given about the outputs of a network fits their number."""

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.errors import OutputError


def regression(outputs: int, units: list[str]) -> cs.Model:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, outputs))
    return cs.Model(module, input=cs.TensorInput(shape=(1, 4)), task="regression", units=units)


def test_more_units_than_outputs_are_refused() -> None:
    with pytest.raises(OutputError, match="units=mm,kg,s has 3 units for the 2 outputs of Sequential: give one"):
        cs.predict(regression(2, ["mm", "kg", "s"]), torch.ones(1, 1, 4))


@pytest.mark.parametrize("units", [["mm"], ["mm", "kg"]])
def test_one_unit_for_all_outputs_or_one_for_each_is_shown(units: list[str]) -> None:
    prediction = cs.predict(regression(2, units), torch.ones(1, 1, 4), top=2)
    assert set(prediction.units) == set(units)
