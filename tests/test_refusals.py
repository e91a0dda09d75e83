"""Lenses of structure, activations and optimized inputs refuse what they cannot do in one clear sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import InputError, LayerError, NoGradient, NotFinite, ParameterError, UnknownName
from tests.conftest import picture_model
from tests.nets import PlainNet, seeded


class Overflows(PlainNet):
    """The logarithm of something below zero, between its two convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        first, relu, second, _ = self.features
        return self.head(relu(second((first(x) - 100).log())).flatten(2).mean(2))


class Deaf(PlainNet):
    """Answers the same whatever it is shown."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.zeros(len(x), 8))


BEGINS = r"overflows first at the operation 'log' in its own forward"

LOOKS: dict[str, Callable[[cs.Model, Tensor], object]] = {
    "activations": lambda m, x: cs.activations(m, x),
    "feature-maps": lambda m, x: cs.feature_maps(m, x, layer="features.2"),
    "top-inputs": lambda m, x: cs.top_inputs(m, x, unit="features.2[1]"),
    "parameter-gradients": lambda m, x: cs.parameter_gradients(m, x),
    "step-through": lambda m, x: cs.step_through(m, x, unit="features.2[1]"),
    "receptive-field": lambda m, x: cs.receptive_field(m, x, unit="features.2[1]"),
    "activation-maximization": lambda m, x: cs.activation_maximization(m, unit="features.2[1]", steps=2),
    "deep-dream": lambda m, x: cs.deep_dream(m, x, unit="features.2", steps=1),
    "invert": lambda m, x: cs.invert(m, x, layer="features.2", steps=1),
}


@pytest.mark.parametrize("call", LOOKS)
def test_where_numbers_overflow_is_named_whatever_was_asked(call: str) -> None:
    model = picture_model(seeded(Overflows))
    with pytest.raises(NotFinite, match=BEGINS) as refusal:
        LOOKS[call](model, torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert "\n" not in str(refusal.value)


def test_what_does_not_depend_on_the_input_cannot_be_drawn() -> None:
    model = picture_model(seeded(Deaf))
    with pytest.raises(NoGradient, match="does not depend on the input of Deaf"):
        cs.activation_maximization(model, unit="dog", steps=2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: cs.kernels(m, layer="head"), LayerError, "has no kernels: choose 'features.0' or 'features.2'"),
        (lambda m: cs.kernels(m, layer="features.9"), UnknownName, "no layer 'features.9'"),
        (lambda m: cs.activation_maximization(m, unit="features.2[8]", steps=1), UnknownName, "has units 0 to 7"),
        (lambda m: cs.activation_maximization(m, unit="features.2[-1]", steps=1), ParameterError, "names no unit"),
        (lambda m: cs.activation_maximization(m, unit="dgo", steps=1), UnknownName, "did you mean 'dog'"),
        (lambda m: cs.activation_maximization(m, unit=[], steps=1), ParameterError, "the list is empty"),
        (lambda m: cs.structure(nn.Sequential(nn.ReLU())), InputError, "the input shape of .* is unknown"),
        (lambda m: cs.top_inputs(m, "no such folder"), InputError, "no such file"),
        (lambda m: cs.convolve("1 2 / 3"), InputError, "the rows of matrix have 2, 1 numbers"),
        (lambda m: cs.convolve("1 2 / 3 x"), InputError, "matrix holds 'x', which is no number"),
        (lambda m: cs.convolve("1 2 / 3 4", "1 1 1 / 1 1 1 / 1 1 1"), InputError, "does not fit into 2×2"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_clear_sentence(model, call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as refusal:
        call(model)
    assert "\n" not in str(refusal.value)


def test_a_folder_without_images_is_refused_and_broken_ones_are_counted(model, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(InputError, match="there is no picture in the folder"):
        cs.top_inputs(model, tmp_path, unit="features.0[1]")
    from PIL import Image

    for name in ("a", "b"):
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (20, 20, 3), np.uint8)).save(
            tmp_path / f"{name}.png"
        )
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    distribution = cs.activations(model, tmp_path)
    assert distribution.images == 2
    assert distribution.notes["skipped files"].startswith("1 that cannot be read (")
    assert "broken.png" in distribution.notes["skipped files"]


def test_two_thousand_channels_are_shown_by_their_strongest_and_the_note_says_so() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2048, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 2))
    feature_maps = cs.feature_maps(cs.Model(net, input=cs.ImageInput(size=8)), torch.randn(1, 3, 8, 8), layer="0")
    assert feature_maps.maps["0"].shape == (32, 8, 8)
    assert "32 of 2048" in " ".join([*feature_maps.lines(), *map(str, feature_maps.notes.values())]).replace(",", "")
    assert max(feature_maps.picture().pixels.shape) < 4000
    everything = cs.kernels(cs.Model(net), layer="0").picture().pixels.shape
    assert max(everything) < 4000
