"""Networks of several inputs and of tokens: each input as if it were the only one, or all of them together."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import ConvScopeError
from convscope.reporting.reproduce import recipe, request_of
from tests.networks_of_several_inputs import (
    FEATURES,
    ImageAndTable,
    full_sample,
    image_and_table,
    linear_in_each,
    photo_and_row,
    word_scorer,
)


class WithRow(nn.Module):
    """The network of two inputs with a fixed row, as its user would write it."""

    def __init__(self, network: nn.Module, row: Tensor) -> None:
        super().__init__()
        self.network, self.row = network, row

    def forward(self, photo: Tensor) -> Tensor:
        return self.network(photo, self.row.expand(len(photo), -1))


@pytest.mark.parametrize(
    ("lens", "options", "names"),
    [
        ("integrated_gradients", {"steps": 2, "baseline": "mean"}, None),
        ("integrated_gradients", {"steps": 2, "baseline": "blur"}, ["photo", "series"]),
        ("expected_gradients", {"samples": 4}, None),
    ],
)
def test_a_baseline_of_several_inputs_is_the_one_of_each(lens: str, options: Any, names: list[str] | None) -> None:
    model, sample = linear_in_each(), full_sample()
    joint: Any = getattr(cs, lens)(model, sample, explain=names, **options)
    assert joint.notes["inputs"].endswith("change together")
    for name in joint:  # a linear network: what one input adds does not depend on the others
        alone: Any = getattr(cs, lens)(model, sample, explain=name, **options)
        torch.testing.assert_close(joint[name].channels, alone.channels, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("lens", "options", "most"),
    [
        ("integrated_gradients", {"steps": 2, "smooth": 3}, 0.5),
        ("integrated_gradients", {"steps": 2, "baseline": "noise"}, 1.0),
        ("expected_gradients", {"samples": 4, "references": "noise"}, 1.0),
    ],
)
def test_noise_has_the_range_of_the_input_that_it_is_added_to(lens: str, options: Any, most: float) -> None:
    model, sample = linear_in_each(), {**full_sample(), "table": [0.001, 0.002, 0.003, 0.004]}
    row = torch.tensor(sample["table"])
    value: Any = getattr(cs, lens)(model, sample, **options)
    moved = value["table"].channels / model.module.get_parameter("table").detach()
    clean = row if "smooth" in options else 0 * row
    assert 0 < float((moved - clean).abs().max()) <= most * 0.003


def test_views_move_each_input_along_its_own_axes() -> None:
    smooth = cs.Smooth(samples=2, augment="views")
    value: Any = cs.integrated_gradients(image_and_table(), photo_and_row(), steps=2, smooth=smooth)  # type: ignore[call-arg]
    assert list(value) == ["photo"]
    assert value.notes["not explained"].startswith("table (views mirror and shift the input, and this input of shape")


@pytest.mark.parametrize("name", ["photo", "table", "series", "words"])
def test_a_linear_model_of_each_kind_of_input_gives_its_weights(name: str) -> None:
    model, sample = linear_in_each(), full_sample()
    value: Any = cs.saliency(model, sample, explain=name)
    weights = getattr(model.module, name).detach()
    expected = weights.T if name == "words" else weights  # at the embedding: (dimensions, tokens)
    torch.testing.assert_close(value.channels, expected)
    torch.testing.assert_close(value.values, expected.sum(0))
    product: Any = cs.gradient_x_input(model, sample, explain=name)
    joint: Any = cs.integrated_gradients(model, sample, steps=3)
    torch.testing.assert_close(product.channels, joint[name].channels, atol=1e-5, rtol=1e-4)


def test_integrated_gradients_over_all_inputs_sum_to_the_change_of_the_score() -> None:
    model, sample = image_and_table(), photo_and_row()
    value: Any = cs.integrated_gradients(model, sample, steps=64, target=1)
    photo, row = cs.ImageInput(size=16).prepare_array(sample["photo"]).tensor.double(), torch.tensor(sample["table"])
    network, parts = image_and_table().module.double(), {"photo": 0.0, "table": 0.0}
    points, weights = np.polynomial.legendre.leggauss(64)
    black = cs.ImageInput(size=16).level(0).double().expand_as(photo)
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):  # both inputs at the same place of the path
        inputs = [
            (black + point * (photo - black))[None].requires_grad_(),
            (point * row.double())[None].requires_grad_(),
        ]
        slopes = torch.autograd.grad(network(*inputs)[0, 1], inputs)
        parts["photo"] += weight * float((slopes[0][0] * (photo - black)).sum())
        parts["table"] += weight * float((slopes[1][0] * row).sum())
    assert value.totals == pytest.approx(parts, rel=1e-3, abs=1e-7)
    with torch.no_grad():
        there, here = network(photo[None], row.double()[None]), network(black[None], torch.zeros(1, 4).double())
    rise = float(there[0, 1] - here[0, 1])
    assert sum(value.totals.values()) == pytest.approx(rise, rel=1e-3)
    assert value.notes["completeness gap"] == pytest.approx(sum(value.totals.values()) - rise, abs=1e-6)
    assert value.one_scale


@pytest.mark.parametrize(
    ("lens", "options"),
    [
        ("grad_cam", {"layer": "features.1"}),
        ("lrp", {}),
        ("occlusion", {"patch": 6, "stride": 5}),
        ("rise", {"samples": 16, "cells": 3}),
        ("ablation_cam", {}),
        ("smooth_grad", {"samples": 3}),
    ],
)
def test_the_other_inputs_are_held_as_in_a_network_that_fixes_them(lens: str, options: dict[str, Any]) -> None:
    model, sample = image_and_table(), photo_and_row()
    fixed = cs.Model(WithRow(model.module, torch.tensor(sample["table"])), input=cs.ImageInput(size=16))
    value: Any = getattr(cs, lens)(model, sample, explain="photo", **options)
    if "layer" in options:
        options = {**options, "layer": f"network.{options['layer']}"}
    expected = getattr(cs, lens)(fixed, sample["photo"], **options)
    torch.testing.assert_close(value.values, expected.values, rtol=1e-4, atol=1e-7)
    assert value.notes["held"] == "table"
    assert value.record.parameters["explain"] == "photo"


def test_an_input_on_which_a_lens_does_not_work_is_named() -> None:
    model, sample = image_and_table(), photo_and_row()
    value: Any = cs.grad_cam(model, sample)
    assert list(value) == ["photo"]
    assert value.notes["not explained"].startswith("table (no layer of ImageAndTable has an output with spatial extent")
    with pytest.raises(ConvScopeError, match="spatial extent"):
        cs.grad_cam(model, sample, explain="table")
    both: Any = cs.saliency(model, sample)
    assert list(both) == ["photo", "table"]
    assert not both.one_scale
    assert both["table"].record.channel_names == FEATURES


def test_samples_in_a_list_and_in_batches_give_the_values_of_each() -> None:
    model, samples = image_and_table(), [photo_and_row(seed) for seed in (0, 1)]
    single = [cs.saliency(model, sample, target=2) for sample in samples]
    spec = cs.ImageInput(size=16)
    photos = torch.stack([spec.prepare_array(sample["photo"]).tensor for sample in samples])
    batches = {"photo": photos, "table": torch.tensor([sample["table"] for sample in samples])}
    tuples = [(sample["photo"], sample["table"]) for sample in samples]
    for given in (samples, batches, tuples):
        values: Any = cs.saliency(model, given, target=2)
        for value, expected in zip(values, single, strict=True):
            for name in ("photo", "table"):
                torch.testing.assert_close(value[name].channels, expected[name].channels)
    of_targets: Any = cs.saliency(model, samples[0], targets=[0, 2])
    torch.testing.assert_close(of_targets[1]["table"].channels, single[0]["table"].channels)
    shown: Any = cs.predict(model, samples[0])
    expected_scores = model.module(photos[:1], batches["table"][:1])[0].tolist()
    assert list(shown.scores) == pytest.approx(sorted(expected_scores, reverse=True), rel=1e-5)


def _score_of_row(output: Tensor, rows: Tensor) -> Tensor:
    return output[torch.arange(len(rows)), torch.tensor([2, 0])[rows]]


@pytest.mark.parametrize("target", [[2, 0], torch.tensor([2, 0]), np.array([2, 0]), _score_of_row])
def test_each_sample_has_its_own_target(target: Any) -> None:
    model, samples = image_and_table(), [photo_and_row(seed) for seed in (0, 1)]
    saliency: Any = cs.saliency
    values = saliency(model, samples, target=target)
    for value, sample, own in zip(values, samples, (2, 0), strict=True):
        alone = saliency(model, sample, target=own)
        torch.testing.assert_close(value["table"].channels, alone["table"].channels)
    with pytest.raises(ConvScopeError, match="3 targets for 2 samples"):
        saliency(model, samples, target=torch.tensor([2, 0, 1]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"photo": None}, "the input 'table' is missing \\(the network takes photo, table\\)"),
        ({"foto": 1, "table": 2}, "no input 'foto'; did you mean 'photo'"),
        ((1, 2, 3), "3 inputs for a network that takes 2 \\(photo, table\\)"),
        ("photo.png", "several inputs \\(photo, table\\), got str: pass a dict"),
        (
            {"photo": torch.zeros(2, 3, 16, 16), "table": torch.zeros(3, 4)},
            "the batch is ragged: 2 of photo, 3 of table",
        ),
        (
            {**photo_and_row(), "table": [1.0, 2.0]},
            "the input 'table': the row has 2 numbers, and the table of this network has 4",
        ),
        ([], "there is no sample: the list is empty"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ConvScopeError, match=message):
        cs.saliency(image_and_table(), given)


def test_what_takes_no_sample_and_unknown_names_are_refused() -> None:
    model, sample = image_and_table(), photo_and_row()
    with pytest.raises(
        ConvScopeError, match="activations runs over a data set, and ImageAndTable takes several inputs"
    ):
        cs.activations(model, [photo_and_row()])
    with pytest.raises(ConvScopeError, match="explain names no input of ImageAndTable: 'tabel'; did you mean 'table'"):
        cs.saliency(model, sample, explain="tabel")
    call: Any = cs.saliency
    with pytest.raises(ConvScopeError, match="explain picks one of several inputs, and this network takes one"):
        call(WithRow(ImageAndTable(), torch.zeros(4)), torch.zeros(1, 3, 16, 16), explain="photo")


def test_tokens_are_explained_at_the_embedding() -> None:
    model = word_scorer()
    value: Any = cs.integrated_gradients(model, "not very good film", steps=32, target=0)
    assert value.record.kind == "tokens"
    assert np.asarray(value.photo).tolist() == ["not", "very", "good", "film"]
    network: Any = model.module
    with torch.no_grad():
        scores = model.module(torch.tensor([[4, 3, 1, 5]]))[0]
        empty = network.head(network.gru(torch.zeros(1, 4, 5))[0].mean(1))[0]
    assert float(value.values.sum()) == pytest.approx(float(scores[0] - empty[0]), abs=1e-5)
    padded: Any = cs.integrated_gradients(word_scorer(padding="<pad>"), [4, 3, 1, 5], steps=32, target=0)
    with torch.no_grad():
        rise = float(scores[0] - model.module(torch.zeros(1, 4, dtype=torch.long))[0, 0])
    assert float(padded.values.sum()) == pytest.approx(rise, abs=1e-5)  # the path starts at the padding token
    several: Any = cs.saliency(model, torch.tensor([[4, 3, 1], [1, 2, 2]]))
    assert [each.record.input for each in several] == ["not very good", "good bad bad"]
    with pytest.raises(ConvScopeError, match="activations runs over a data set, and WordScorer takes tokens"):
        cs.activations(model, torch.tensor([[4, 3, 1], [1, 2, 2]]))


def test_comparisons_and_recommendations_look_at_one_input() -> None:
    model, sample = image_and_table(), photo_and_row()
    compared: Any = cs.compare(model, sample, lenses=["grad-cam", "saliency"], explain="photo")  # type: ignore[arg-type]
    assert [value.method for value in compared] == ["grad-cam", "saliency"]
    assert compared.picture().pixels.any()
    with pytest.raises(
        ConvScopeError, match="compare puts maps of one input side by side: choose it with explain=…, one of photo"
    ):
        cs.compare(model, sample, lenses=["saliency", "lrp"])  # type: ignore[arg-type]
    assert "integrated-gradients" in cs.recommend(model, sample, "shares").best  # type: ignore[arg-type]
    assert "grad-cam" in cs.recommend(word_scorer(), "not very good").best


@pytest.mark.parametrize(
    ("lens", "options", "names"),
    [
        ("saliency", {}, None),
        ("saliency", {}, ["photo", "table", "words"]),
        ("integrated_gradients", {"steps": 2}, ["photo", "series"]),
    ],
)
def test_the_record_of_several_maps_gives_all_of_them_again(lens: str, options: Any, names: list[str] | None) -> None:
    model, sample = linear_in_each(), full_sample()
    value: Any = getattr(cs, lens)(model, sample, explain=names, **options)
    repeated: Any = getattr(cs, lens)(model, sample, **request_of(value.record).parameters)
    assert list(repeated) == list(value)
    written = recipe(value.record).call
    assert f"explain={names!r}" in written if names else "explain" not in written
    if lens == "integrated_gradients":  # a part of one map comes with the others
        assert recipe(value["photo"].record) == recipe(value.record)


def test_the_record_of_several_maps_names_no_layer_of_one_of_them() -> None:
    model, sample = image_and_table(), photo_and_row()
    assert "layer" not in recipe(cs.grad_cam(model, sample).record).call
    named: Any = cs.grad_cam(model, sample, layer="features.1")
    assert "layer=['features.1']" in recipe(named.record).call


def test_attributions_to_a_layer_name_the_input_whose_path_they_follow() -> None:
    model, sample = image_and_table(), photo_and_row()
    options: dict[str, Any] = {"layer": "head", "steps": 4}
    of_photo: Any = cs.layer_conductance(model, sample, **options)
    of_table: Any = cs.layer_conductance(model, sample, explain="table", **options)
    assert not torch.allclose(of_photo.values, of_table.values)
    for value, name, held in ((of_photo, "photo", "table"), (of_table, "table", "photo")):
        assert (value.record.parameters["explain"], value.notes["held"]) == (name, held)
        repeated: Any = cs.layer_conductance(model, sample, **request_of(value.record).parameters, layer="head")
        torch.testing.assert_close(repeated.values, value.values)
    prediction: Any = cs.predict(model, sample)
    assert "explain" not in prediction.record.parameters
    assert "held" not in prediction.notes
