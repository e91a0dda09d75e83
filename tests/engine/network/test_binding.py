"""How networks of several inputs are called."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import InputError

TABLES = (cs.TableInput(features=2), cs.TableInput(features=3))
SAMPLE = ([1.0, 2.0], [3.0, 4.0, 5.0])


class Sum(nn.Module):
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.stack([first.sum(1), 10 * second.sum(1)], 1)


class OfDict(nn.Module):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return Sum()(batch["a"], batch["b"])


class OfTuple(nn.Module):
    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return Sum()(*batch)


class InAnyNumber(nn.Module):
    def forward(self, *tables: Tensor) -> Tensor:
        return Sum()(*tables)


class ByName(nn.Module):
    def forward(self, *, second: Tensor, first: Tensor, scale: float = 1.0) -> Tensor:
        return scale * Sum()(first, second)


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (Sum(), ("first", "second")),
        (Sum(), ("a", "b")),  # names of its own: in the order of the forward
        (Sum(), None),
        (OfDict(), ("a", "b")),
        (OfTuple(), None),
        (InAnyNumber(), ("a", "b")),
        (ByName(), ("first", "second")),
    ],
)
def test_a_network_takes_its_inputs_as_its_forward_says(network: nn.Module, names: tuple[str, str] | None) -> None:
    model = cs.Model(network, inputs=TABLES if names is None else dict(zip(names, TABLES, strict=True)))
    sample: Any = SAMPLE if names is None else dict(zip(names, SAMPLE, strict=True))
    value: Any = cs.predict(model, sample)
    assert value.scores == (120.0, 3.0)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            (*TABLES, TABLES[0]),
            r"inputs= has 3 inputs \(input 0, input 1, input 2\), and Sum's forward takes 2 \(first",
        ),
        ({"first": TABLES[0]}, "Sum's forward needs second too"),
        (
            {"first": TABLES[0], "secnd": TABLES[1]},
            r"Sum's forward has no input 'secnd'; did you mean 'second'\? \(it takes first, second\)",
        ),
        ({"first": 3}, r"inputs is a dict \{name: input\}"),
    ],
)
def test_inputs_that_do_not_fit_the_forward_are_refused(inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cs.Model(Sum(), inputs=inputs)
    with pytest.raises(InputError, match="give one of them"):
        cs.Model(Sum(), inputs=TABLES, input=TABLES[0])
