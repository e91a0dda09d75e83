"""The masking engine of perturbation lenses: notes, errors, early stopping and precision."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from convscope.engine.context.metering import reporting
from convscope.engine.network.precision import has_bfloat16
from convscope.errors import Cancelled, ModelFailed, OutputError, ParameterError
from tests.conftest import picture_model
from tests.nets import FlattenNet, PlainNet, ResidualNet, seeded

MASKED = ["rise", "lime", "kernel_shap", "partition_shap", "feature_ablation", "permutation", "sobol", "hsic"]


LEARNED = ["meaningful_perturbation", "extremal_perturbation"]


WITH_PARTS = ["lime", "kernel_shap", "feature_ablation", "permutation"]


ENOUGH = {"samples": 8, "steps": 4}


def call_lens(lens: str, model: cs.Model, image: Any, **options: Any) -> Any:
    function = getattr(cs, lens)
    parameters = function.declaration.parameters
    return function(
        model, image, **{k: v for k, v in {**ENOUGH, **options}.items() if k in parameters or k == "target"}
    )


# Notes


class Drawing(PlainNet):
    """A network whose dropout is forced on."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(self.features(x), 0.5, training=True).flatten(2).mean(2))


@pytest.mark.parametrize("lens", [*MASKED, *LEARNED])
def test_a_network_that_draws_at_random_is_noticed_with_both_scores(lens: str, picture: np.ndarray) -> None:
    torch.manual_seed(0)
    drawing = call_lens(lens, picture_model(seeded(Drawing)), picture, target=1)
    assert "the network draws at random" in drawing.notes["nondeterministic"]
    assert "nondeterministic" not in call_lens(lens, picture_model(seeded(PlainNet)), picture, target=1).notes


@pytest.mark.parametrize("lens", MASKED)
def test_a_target_that_does_not_depend_on_the_input_gives_a_blank_map_that_says_why(lens: str, model, picture) -> None:
    attribution = call_lens(lens, model, picture, target=lambda output: torch.full((len(output),), 2.5))
    assert attribution.blank
    assert attribution.values.abs().max() == 0
    assert "was the same under every mask" in attribution.notes["blank"]


@pytest.mark.parametrize("lens", [*MASKED, *LEARNED])
def test_a_score_of_zero_divides_nothing(lens: str, model: cs.Model, picture: np.ndarray) -> None:
    own_score = float(model.module(model.prepare(picture).tensor)[0, 1].detach())
    attribution = call_lens(lens, model, picture, target=lambda output: output[:, 1] - own_score)
    assert torch.isfinite(attribution.values).all()
    assert not attribution.blank


@pytest.mark.parametrize("lens", MASKED)
def test_a_score_that_overflows_under_a_mask_is_refused(lens: str, picture: np.ndarray) -> None:
    class Overflowing(PlainNet):
        def forward(self, x: Tensor) -> Tensor:
            self.calls = getattr(self, "calls", 0) + 1
            return super().forward(x) * (torch.nan if self.calls > 3 else 1)

    with pytest.raises(OutputError, match="NaN or infinite"):
        call_lens(lens, picture_model(seeded(Overflowing)), picture)


# Errors


@pytest.mark.parametrize("lens", ["rise", "lime", "kernel_shap", "partition_shap", "permutation", "sobol"])
def test_a_budget_too_small_to_say_anything_is_refused(lens: str, model: cs.Model, picture: np.ndarray) -> None:
    with pytest.raises(ParameterError, match=r"^samples must be 2 to .*, got 1"):
        getattr(cs, lens)(model, picture, samples=1)


@pytest.mark.parametrize("lens", ["lime", "kernel_shap"])
def test_fewer_samples_than_segments_is_said_and_widens_the_band(lens: str, model: cs.Model, picture) -> None:
    few = getattr(cs, lens)(model, picture, samples=8, segments=16, segmenter="grid")
    many = getattr(cs, lens)(model, picture, samples=400, segments=16, segmenter="grid")
    assert few.notes["few samples"].startswith("8 for 16 segments; at least 18 are needed")
    assert "few samples" not in many.notes
    assert few.uncertainty["band"].max() > many.uncertainty["band"].max()


@pytest.mark.parametrize("lens", WITH_PARTS)
def test_fewer_than_two_segments_are_refused(lens: str, model: cs.Model, picture: np.ndarray) -> None:
    for segments, message in ((1, "2 to 4096, got 1"), (torch.zeros(16, 16), "two parts or more")):
        with pytest.raises(ParameterError, match=f"^segments must be {message}"):
            call_lens(lens, model, picture, segments=segments)
    for labels, message in ((torch.zeros(4, 4), "a map of shape"), (torch.rand(16, 16), "whole numbers")):
        with pytest.raises(ParameterError, match=f"segments must be .*{message}"):
            call_lens(lens, model, picture, segments=labels)


# Early stopping


@pytest.mark.parametrize("lens", ["rise", "lime", "kernel_shap", "sobol"])
def test_a_run_stops_once_its_band_is_narrow_whatever_the_chunks(lens: str, pictures, monkeypatch) -> None:
    model = picture_model(seeded(FlattenNet))
    options = {"samples": 3000, "segments": 9, "segmenter": "grid", "cells": 4, "stop_when": 0.4}
    if lens == "sobol":
        options["samples"] = 100
    attributions = call_lens(lens, model, pictures, **options)
    monkeypatch.setattr("convscope.engine.context.chunking.MAX_CHUNK", 5)
    for attribution, in_small_chunks in zip(attributions, call_lens(lens, model, pictures, **options), strict=True):
        spread = float(attribution.values.max() - attribution.values.min())
        assert attribution.cost.forwards < 3000
        assert float(attribution.uncertainty["band"].max()) <= 0.41 * spread
        torch.testing.assert_close(attribution.values, in_small_chunks.values, atol=1e-4 * spread, rtol=0)
        counted = {k: v for k, v in attribution.notes.items() if k in ("masks", "samples", "designs")}
        assert counted == {k: in_small_chunks.notes[k] for k in counted}


@pytest.mark.parametrize("lens", [*MASKED, *LEARNED, "xrai"])
def test_a_run_can_be_cancelled_midway(lens: str, model: cs.Model, pictures: list[np.ndarray], monkeypatch) -> None:
    monkeypatch.setattr("convscope.engine.context.chunking.MAX_CHUNK", 2)
    progress = []

    def stop(done: int, total: int) -> None:
        progress.append((done, total))
        if len(progress) == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled), reporting(stop):
        call_lens(lens, model, pictures)
    assert progress[0][0] < progress[1][0] <= progress[1][1]


# Precision

bfloat16 = pytest.mark.skipif(not has_bfloat16(torch.device("cpu")), reason="this processor has no bfloat16 arithmetic")


@bfloat16
@pytest.mark.parametrize("lens", MASKED)
def test_bfloat16_gives_nearly_the_same_map_and_leaves_the_network_as_it_is(lens: str, pictures) -> None:
    model = picture_model(seeded(ResidualNet))
    options = {"target": 1, "samples": 300 if lens in ("rise", "hsic") else 64, "segmenter": "grid", "segments": 9}
    references = call_lens(lens, model, pictures, **options)
    for attribution, reference in zip(
        call_lens(lens, model, pictures, precision="bfloat16", **options), references, strict=True
    ):
        maps = torch.stack([attribution.values.flatten(), reference.values.flatten()])
        assert float(torch.corrcoef(maps)[0, 1]) > 0.98
        assert not torch.equal(attribution.values, reference.values)
    assert {p.dtype for p in model.module.parameters()} == {torch.float32}


@bfloat16
def test_a_network_that_cannot_be_copied_stays_in_float32(picture: np.ndarray) -> None:
    model = picture_model(seeded(PlainNet))
    model.module.lock = __import__("threading").Lock()
    with pytest.raises(ParameterError, match=r"^precision must be 'float32' for this network: .* copying raised"):
        cs.rise(model, picture, samples=8, precision="bfloat16")


def test_bfloat16_is_refused_where_the_processor_has_none(model: cs.Model, picture: np.ndarray, monkeypatch) -> None:
    monkeypatch.setattr("convscope.engine.network.precision.has_bfloat16", lambda _device: False)
    with pytest.raises(ParameterError, match=r"^precision must be 'float32' on this processor"):
        cs.rise(model, picture, samples=8, precision="bfloat16")


def test_a_network_that_insists_on_float32_is_named_in_bfloat16(picture: np.ndarray) -> None:
    class Insisting(PlainNet):
        def forward(self, x: Tensor) -> Tensor:
            if x.dtype != torch.float32:
                raise TypeError("float32 please")
            return super().forward(x)

    if has_bfloat16(torch.device("cpu")):
        with pytest.raises(ModelFailed, match="float32 please"):
            cs.rise(picture_model(seeded(Insisting)), picture, samples=8, precision="bfloat16")
