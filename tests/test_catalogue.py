"""Calls that apply several lenses: comparisons of lenses, targets and models, and recommendations."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

import convscope as cs
from convscope.errors import (
    ParameterError,
    UnknownName,
)
from convscope.values import Attribution, Comparison, Value
from tests.conftest import picture_model
from tests.narrowing import tensor_in
from tests.nets import FlattenNet, PlainNet, ResidualNet, seeded


def test_columns_are_as_alike_as_spearman_says(model, pictures) -> None:
    comparison = cs.compare(model, pictures, ["grad-cam", "saliency", "gradient-x-input"])
    for i, j in ((0, 1), (1, 2)):
        true = [spearmanr(row[i].values.flatten(), row[j].values.flatten()).statistic for row in comparison.rows]
        assert float(comparison.rank_similarity[i, j]) == pytest.approx(np.mean(true), abs=1e-5)
    assert torch.allclose(comparison.rank_similarity.diagonal(), torch.ones(3))
    structural_similarity = tensor_in(comparison.structural_similarity)
    assert torch.allclose(structural_similarity.diagonal(), torch.ones(3))
    assert torch.equal(structural_similarity, structural_similarity.T)


def test_the_agreement_is_the_share_of_columns_that_point_at_a_place() -> None:
    from convscope.engine.statistics.map_similarity import agreement

    first = Attribution(values=torch.tensor([[5.0, 1, 0, 0, 0]]))
    second = Attribution(values=torch.tensor([[5.0, 0, 0, 0, -9]]))
    third = Attribution(values=torch.tensor([[0.0, 0, 7, 0, 0]]))
    assert agreement([first, second, third]).tolist() == [[pytest.approx(2 / 3), 0, pytest.approx(1 / 3), 0, 0]]


def test_a_blank_map_agrees_with_nothing() -> None:
    from convscope.engine.statistics.map_similarity import agreement, rank_similarity

    blank, other = Attribution(values=torch.zeros(4, 4)), Attribution(values=torch.arange(16.0).view(4, 4))
    assert agreement([blank, other]).max() == 0.5  # one of two
    assert agreement([blank]).max() == 0
    assert rank_similarity([[blank, other]])[0, 1].isnan()
    Comparison(rows=((blank, other),)).picture()


def test_one_lens_over_several_targets_shares_one_scale(model, picture) -> None:
    comparison = cs.compare(model, picture, "grad-cam", targets=["cat", "dog", "cat - dog"])
    assert comparison.titles == ("cat (2)", "dog (3)", "cat - dog")
    assert comparison.scales == (0, 0, 0)
    cat, dog, both = (cell.values for cell in comparison.rows[0])
    torch.testing.assert_close(both, cat - dog, rtol=1e-4, atol=1e-6)
    comparison.picture()


def test_several_models_stand_side_by_side(picture) -> None:
    first, second = picture_model(seeded(PlainNet)), picture_model(seeded(ResidualNet))
    comparison = cs.compare([first, second], picture, ["grad-cam", "saliency"])
    assert comparison.titles == (
        "Grad-CAM · PlainNet",
        "Saliency · PlainNet",
        "Grad-CAM · ResidualNet",
        "Saliency · ResidualNet",
    )
    assert comparison.scales == (0, 1, 0, 1)
    alike = cs.compare([first, picture_model(seeded(PlainNet))], picture, "saliency")
    assert alike.titles == ("PlainNet #1", "PlainNet #2")
    assert repr(alike) == "Comparison(1 input: PlainNet #1, PlainNet #2)"
    assert float(alike.rank_similarity[0, 1]) == pytest.approx(1)


def test_networks_of_one_name_are_told_apart_by_their_files(picture) -> None:
    alike = [picture_model(seeded(PlainNet)) for _ in range(3)]
    for network, source in zip(alike, ("runs/a/net.keras", "net.onnx", "net.onnx"), strict=True):
        network.source = source
    assert cs.compare(alike[:2], picture, "grad-cam").titles == ("net.keras", "net.onnx")
    assert cs.compare(alike, picture, "grad-cam").titles == ("net.keras", "PlainNet #2", "PlainNet #3")


def test_target_and_targets_are_refused_together(model, picture) -> None:
    with pytest.raises(ParameterError, match="targets is a list"):
        cs.compare(model, picture, "grad-cam", target="cat", targets=["dog"])
    with pytest.raises(ParameterError, match="targets is a list"):
        cs.compare(model, picture, "grad-cam", targets="dog")
    with pytest.raises(UnknownName, match="list of models is empty"):
        cs.compare([], picture, "grad-cam")


# Which lens to take


@pytest.mark.parametrize("question", ["any", "class", "regions", "pixels", "shares", "black-box"])
def test_every_lens_is_recommended_or_refused_with_a_reason(question: str, model, picture, tmp_path) -> None:
    recommendation = cs.recommend(model, picture, question)
    assert {entry.lens for entry in recommendation.lenses} == {s.command for s in cs.lenses() if s.gives_map}
    assert all(entry.why for entry in recommendation.lenses)
    specs = {spec.command: spec for spec in cs.lenses()}
    for name in recommendation.best:
        assert question != "class" or "contrasting" in specs[name].claims
        assert question != "shares" or "complete" in specs[name].claims
    assert recommendation.picture().pixels.any()
    loaded = Value.load(recommendation.save(tmp_path / "r.npz"))
    assert isinstance(loaded, cs.Recommendation)
    assert loaded.best == recommendation.best


class NoMap(nn.Module):
    """Nothing in it keeps a place."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 16 * 16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1))


class Detached(FlattenNet):
    """No gradient gets through."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return super().forward(x)


def test_a_network_without_maps_rules_out_what_needs_a_layer(picture) -> None:
    entries = {entry.lens: entry for entry in cs.recommend(picture_model(seeded(NoMap)), picture).lenses}
    assert not entries["grad-cam"].fits
    assert "spatial" in entries["grad-cam"].why
    assert entries["integrated-gradients"].fits


def test_a_network_without_gradients_leaves_black_boxes(picture) -> None:
    entries = {entry.lens: entry for entry in cs.recommend(picture_model(seeded(Detached)), picture).lenses}
    assert not entries["saliency"].fits
    assert not entries["lrp"].fits


def test_a_scripted_network_rules_out_backward_rules(picture) -> None:
    net = seeded(PlainNet)
    traced = torch.jit.trace(net, torch.zeros(1, 3, 16, 16), check_trace=False)
    entries = {entry.lens: entry for entry in cs.recommend(picture_model(traced), picture).lenses}
    assert not entries["lrp"].fits
    assert "torch.jit" in entries["lrp"].why
    assert entries["saliency"].fits


def test_attention_is_ruled_out_for_a_network_without_it_and_recommended_for_one_with_it() -> None:
    shapes, pairs = (
        {entry.lens: entry for entry in cs.recommend(cs.load(f"bundled:{name}"), f"sample:{name}/1").lenses}
        for name in ("shapes", "pairs")
    )
    for lens in ("attention-rollout", "transformer-attribution", "legrad"):
        assert not shapes[lens].fits
        assert "attention" in shapes[lens].why
        assert pairs[lens].fits
    made_for = "made for attention, which this network has"
    assert made_for in pairs["attn-lrp"].why
    assert made_for not in shapes["attn-lrp"].why + pairs["lrp"].why


class Logarithmic(FlattenNet):
    """An operation that relevance has no rule for, and whose gradient is no news to others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier((1 + self.features(x)).log())


def test_a_lens_is_ruled_out_by_what_it_says_itself_and_not_by_its_neighbour(picture) -> None:
    entries = {entry.lens: entry for entry in cs.recommend(picture_model(seeded(Logarithmic)), picture).lenses}
    assert "'log'" in entries["lrp"].why
    assert not entries["lrp"].fits
    assert entries["guided-backprop"].fits
    assert entries["deep-lift"].fits


def test_an_unknown_question_is_refused(model, picture) -> None:
    with pytest.raises(ParameterError, match=r"question must be any, class, .*; did you mean 'shares'"):
        cs.recommend(model, picture, "share")


# Comparing


def test_a_comparison_refuses_what_it_cannot_do(model: cs.Model, picture: np.ndarray) -> None:
    with pytest.raises(UnknownName, match="no lens 'grad-kam'; did you mean 'grad-cam'"):
        cs.compare(model, picture, ["grad-kam"])
    with pytest.raises(UnknownName, match="there is nothing to compare: name at least one lens"):
        cs.compare(model, picture, [])
    with pytest.raises(UnknownName, match="compare puts attributions side by side, and predict gives none"):
        cs.compare(model, picture, ["predict"])
    with pytest.raises(ParameterError, match="none of grad-cam, saliency has a parameter 'step'"):
        cs.compare(model, picture, ["grad-cam", "saliency"], step=3)
    with pytest.raises(ParameterError, match="steps must be 1 to 4096, got 0"):
        cs.compare(model, picture, ["integrated-gradients"], steps=0)


def test_the_name_of_one_lens_may_stand_for_a_list_of_one(model: cs.Model, picture: np.ndarray) -> None:
    assert [cell.method for cell in cs.compare(model, picture, "grad-cam")] == ["grad-cam"]


@pytest.mark.parametrize("name", [3, None, []], ids=str)
def test_a_lens_that_is_no_name_is_refused(name: Any, model: cs.Model, picture: np.ndarray) -> None:
    with pytest.raises(UnknownName, match="lens"):
        cs.compare(model, picture, [name])


def test_the_lenses_of_a_detector_keep_to_the_box_that_is_explained() -> None:
    detector, scene = cs.load("bundled:detector"), "sample:scenes/1"
    comparison = cs.compare(detector, scene, steps=2)
    assert comparison.titles == ("LayerCAM", "Saliency", "Integrated gradients")
    entries = {entry.lens: entry for entry in cs.recommend(detector, scene, "regions").lenses}
    assert "may miss the object: a channel has one weight" in entries["grad-cam"].why
    assert "lies on the one object that is explained" in entries["layer-cam"].why
    both = list(entries)
    assert both.index("layer-cam") < both.index("hires-cam") < both.index("grad-cam")


def test_a_segmenter_is_compared_by_the_lenses_of_every_network() -> None:
    titles = cs.compare(cs.load("bundled:segmenter"), "sample:scenes/1", steps=2).titles
    assert titles == ("Grad-CAM", "LayerCAM", "Saliency", "Integrated gradients")
