"""The same call gives the same bits: whatever other random generators do, and whatever was computed before."""

import random

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.spec import LensSpec
from tests.conformance.selections import LENSES, choose_noise, for_each, for_every_lens
from tests.conftest import picture_model
from tests.lens_calls import assert_same, call_lens, call_lens_as_list, collect_tensors
from tests.nets import FlattenNet, PlainNet, build_for, seeded


@for_every_lens
def test_the_same_seed_gives_the_same_bits_in_any_state_of_the_global_generators(
    spec: LensSpec, model: cs.Model, pictures: list[np.ndarray]
) -> None:
    """Random numbers never come from a generator that other code may advance."""
    assert "deterministic" in spec.claims
    torch.manual_seed(1)
    first_values = call_lens_as_list(spec, model, pictures, **choose_noise(spec))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002 - the global generator is meant
    random.seed(2)
    second_values = call_lens_as_list(spec, model, pictures, **choose_noise(spec))
    for first, second in zip(first_values, second_values, strict=True):
        assert_same(second, first)


@pytest.mark.parametrize("seeds", [(0, 1), (0, 256), (7, 7 + 2**30)], ids=str)
@for_each([spec for spec in LENSES if "seed" in spec.parameters])
def test_another_seed_gives_other_numbers(spec: LensSpec, seeds: tuple[int, int], picture: np.ndarray) -> None:
    model = picture_model(
        seeded(build_for(spec, FlattenNet))
    )  # below a pooling head no noise would change the gradient
    first, second = (
        collect_tensors(call_lens(spec, model, picture, seed=seed, **choose_noise(spec))) for seed in seeds
    )
    assert not all(torch.equal(first[name], second[name]) for name in first)


@for_every_lens
def test_two_models_of_one_network_give_the_same_bits(spec: LensSpec, picture: np.ndarray) -> None:
    """As two runs of one script do: nothing depends on a clock, or on what a model has computed before."""
    first, second = (call_lens(spec, picture_model(seeded(build_for(spec, PlainNet))), picture) for _ in range(2))
    assert_same(second, first)


@for_every_lens
def test_the_memory_format_of_the_weights_does_not_change_the_value(spec: LensSpec, picture: np.ndarray) -> None:
    contiguous = call_lens(spec, picture_model(seeded(build_for(spec, PlainNet))), picture)
    net = seeded(build_for(spec, PlainNet))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch declares it for tensors only
    channels_last = picture_model(net)
    assert_same(call_lens(spec, channels_last, picture), contiguous, tolerance=1e-4)
