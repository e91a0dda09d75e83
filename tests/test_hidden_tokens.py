"""Occlusion, RISE and KernelSHAP over tokens, computed from scores of explicit sets of tokens."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.errors import CapabilityError, ParameterError
from tests.engine.masking.test_token_dropping import PICTURES, Transformer
from tests.nets import PlainNet, seeded

GRID, CELLS = (4, 6), 24


def score(net: Transformer, picture: Tensor, kept: Tensor) -> float:
    """Of the first class, where the network gets these cells alone."""
    with torch.no_grad():
        tokens = net.stem(picture[None]).flatten(2).mT + net.positions[:, 1:]
        tokens = torch.cat([net.cls + net.positions[:, :1], tokens[:, kept]], 1)  # type: ignore[operator]
        for block in net.blocks:
            tokens = block(tokens)
        return float(net.head(tokens[:, 0])[0, 0])


def test_occlusion_is_the_drop_without_each_token() -> None:
    net = seeded(Transformer)
    value: Any = cs.occlusion(cs.Model(net), PICTURES[:1], target=0, hide="tokens")
    everything = torch.ones(CELLS, dtype=torch.bool)
    whole = score(net, PICTURES[0], everything)
    for cell in range(CELLS):
        kept = everything.clone()
        kept[cell] = False
        of_token = value.values[cell // 6 * 4 : cell // 6 * 4 + 4, cell % 6 * 4 : cell % 6 * 4 + 4]
        assert float(of_token.min()) == float(of_token.max())
        assert float(of_token[0, 0]) == pytest.approx(whole - score(net, PICTURES[0], kept), abs=1e-5)


def test_shapley_values_of_groups_of_tokens_are_those_of_all_orders() -> None:
    net = seeded(Transformer)
    value: Any = cs.kernel_shap(cs.Model(net), PICTURES[:1], target=0, hide="tokens", segments=4, samples=100)
    group = (torch.arange(4)[:, None] // 2 * 2 + torch.arange(6) // 3).flatten()
    expected = torch.zeros(4)
    for order in itertools.permutations(range(4)):
        shown: list[int] = []
        before = score(net, PICTURES[0], torch.isin(group, torch.tensor(shown)))
        for member in order:
            shown.append(member)
            after = score(net, PICTURES[0], torch.isin(group, torch.tensor(shown)))
            expected[member] += (after - before) / math.factorial(4)
            before = after
    actual = torch.stack([value.values[r : r + 8, c : c + 12].sum() for r in (0, 8) for c in (0, 12)])
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-5)


def test_rise_keeps_equally_many_tokens_and_finds_the_same_as_occlusion() -> None:
    model = cs.Model(seeded(Transformer))
    rise: Any = cs.rise(model, PICTURES[:1], target=0, hide="tokens", samples=2000, keep=0.8)
    occlusion: Any = cs.occlusion(model, PICTURES[:1], target=0, hide="tokens")
    pair = torch.stack([rise.values.flatten(), occlusion.values.flatten()])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.9
    assert rise.notes["hidden"] == "tokens of a grid of 4×6, left out of the sequence"


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    model, averaging = cs.Model(seeded(Transformer)), cs.Model(seeded(Transformer, class_token=False))
    with pytest.raises(ParameterError, match="fill is about pixels, and hide='tokens' leaves tokens out: leave fill"):
        cs.occlusion(model, PICTURES, hide="tokens", fill="blur")
    with pytest.raises(CapabilityError, match="has no score without any token, since it averages over its patches"):
        cs.kernel_shap(averaging, PICTURES, hide="tokens", segments=4)
    refusal = "cannot be left out: it has no attention that can be read: hide='pixels' works with it"
    with pytest.raises(CapabilityError, match=refusal):
        cs.rise(cs.Model(seeded(PlainNet)), PICTURES, hide="tokens")
