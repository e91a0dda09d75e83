"""Second implementations of maps with weights from scores or second derivatives: one channel at a time, in float64.

Each function here has the name of its lens and computes the map of one layer of one `Slow` network.
"""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from convscope.engine.paths.baselines import make_baseline
from convscope.errors import LayerError, OutputError
from tests.conftest import picture_model
from tests.nets import PlainNet, seeded
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject, subject_called
from tests.twins.test_cam import grad_cam_plus_plus

NETS = ("plain", "residual", "flatten", "signal", "volume", "digits", "shapes")
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def ablation_cam(slow: Slow, layer: str) -> Tensor:
    a, _ = slow.at(layer)
    drops = []
    for k in range(len(a)):
        without = a.clone()
        without[k] = 0
        drops.append(slow.score(slow.x) - slow.score_given(layer, without))
    return sum(drop * a_k for drop, a_k in zip(drops, a, strict=True))


def recipro_cam(slow: Slow, layer: str, gaussian: bool = True) -> Tensor:
    a, _ = slow.at(layer)
    positions = list(itertools.product(*map(range, a.shape[1:])))
    drops = torch.empty(a.shape[1:], dtype=torch.float64)
    for position in positions:
        window = torch.zeros(a.shape[1:], dtype=torch.float64)
        for neighbour in positions:
            distances = [abs(i - j) for i, j in zip(position, neighbour, strict=True)]
            if max(distances) <= (1 if gaussian else 0):
                window[neighbour] = math.prod(1 - d / 2 for d in distances)
        drops[position] = slow.score_given(layer, a * window) - slow.score_given(layer, a * 0)
    return drops


def score_cam(slow: Slow, layer: str, strengths: tuple[float, ...] = (1.0,)) -> Tensor:
    a, _ = slow.at(layer)
    scores = [
        sum(slow.score(slow.x * mask * s) for s in strengths) / len(strengths) if mask is not None else -torch.inf
        for mask in masks(a, slow.x.shape[1:])
    ]
    return sum(w * a_k for w, a_k in zip(torch.tensor(scores).softmax(0), a, strict=True))


def integrated_score_cam(slow: Slow, layer: str, steps: int = 10) -> Tensor:
    return score_cam(slow, layer, tuple(i / steps for i in range(1, steps + 1)))


def smoothed_score_cam(slow: Slow, layer: str, inputs: Tensor) -> Tensor:
    """The map from the noisy inputs that were drawn, (channels, copies, C, …)."""
    a, _ = slow.at(layer)
    means = torch.tensor([sum(map(slow.score, copies)) / len(copies) for copies in inputs])
    return sum(w * a_k for w, a_k in zip(means.softmax(0), a, strict=True))


def group_cam(slow: Slow, layer: str, blurred: Tensor, groups: int = 4, keep: float = 0.3) -> Tensor:
    a, g = slow.at(layer)
    total = torch.zeros(a.shape[1:], dtype=torch.float64)
    for part_a, part_g in zip(a.tensor_split(groups), g.tensor_split(groups), strict=True):
        m = sum(g_k.mean() * a_k for a_k, g_k in zip(part_a, part_g, strict=True)).clamp(min=0)
        m = torch.where(m >= m.flatten().quantile(1 - keep), m, 0.0)
        (mask,) = masks(m[None], slow.x.shape[1:])
        if mask is not None:
            rise = slow.score(slow.x * mask + blurred * (1 - mask)) - slow.score(blurred)
            total += rise * (m - m.min()) / (m.max() - m.min())
    return total


def shapley_cam(slow: Slow, layer: str, rest: bool = True) -> Tensor:
    a, _ = slow.at(layer)

    def utility(activation: Tensor) -> Tensor:
        scores = slow.answer_given(layer, activation)
        return scores[slow.target] + (scores.log_softmax(0)[slow.target] if rest else 0)

    gradient = torch.autograd.functional.jacobian(utility, a)
    _, hessian_product = torch.autograd.functional.hvp(utility, a, a)
    return sum((g_k - b_k / 2).mean() * a_k for a_k, g_k, b_k in zip(a, gradient, hessian_product, strict=True))


def finer_cam(slow: Slow, layer: str, similar: int = 3, alpha: float = 1.0) -> Tensor:
    a, _ = slow.at(layer)
    clean_scores = slow.answer_given(layer, a)
    others = sorted(
        (c for c in range(len(clean_scores)) if c != slow.target),
        key=lambda c: abs(clean_scores[c] - clean_scores[slow.target]),
    )

    def margin(activation: Tensor) -> Tensor:
        scores = slow.answer_given(layer, activation)
        return scores[slow.target] - alpha * scores[others[:similar]].mean()

    gradient = torch.autograd.functional.jacobian(margin, a)
    return sum(g_k.mean() * a_k for a_k, g_k in zip(a, gradient, strict=True))


def refine_cam(slow: Slow, layers: tuple[str, ...]) -> Tensor:
    product = torch.ones(slow.x.shape[1:], dtype=torch.float64)
    for layer in layers:
        layer_map = grad_cam_plus_plus(*slow.at(layer)).clamp(min=0)
        product = product * enlarged(layer_map / layer_map.max(), slow.x.shape[1:])
    return product


def masks(maps: Tensor, extent: tuple[int, ...]) -> list[Tensor | None]:
    """Each map (C, …) enlarged and scaled to 0 … 1; None for a constant one."""
    large = [enlarged(m, extent) for m in maps]
    return [
        (m - m.min()) / (m.max() - m.min()) if s.min() < s.max() else None for m, s in zip(large, maps, strict=True)
    ]


def enlarged(small: Tensor, extent: tuple[int, ...]) -> Tensor:
    return F.interpolate(small[None, None], size=tuple(extent), mode=MODES[len(extent)], align_corners=False)[0, 0]


WHOLE = [
    (ablation_cam, {}),
    (recipro_cam, {}),
    (recipro_cam, {"gaussian": False}),
    (score_cam, {}),
    (integrated_score_cam, {"steps": 3}),
    (finer_cam, {}),
    (finer_cam, {"similar": 1, "alpha": 0.6}),
]


@pytest.mark.parametrize("subject", NETS, indirect=True)
@pytest.mark.parametrize(("formula", "parameters"), WHOLE)
def test_the_map_at_a_layer_is_its_formula(formula, parameters: dict, subject: Subject) -> None:
    for layer in subject.layers if "Net" in subject.model.name else subject.layers[-1:]:
        attributions = subject.explained(formula.__name__, layer=layer, **parameters)
        for attribution, slow in zip(attributions, subject.slow, strict=True):
            assert "recomputed" not in attribution.notes
            assert relative_error(attribution.layer_values[layer], formula(slow, layer, **parameters)) < TOLERANCE


@pytest.mark.parametrize("subject", ["plain", "flatten"], indirect=True)
def test_smoothed_score_cam_is_its_formula_on_the_inputs_it_drew(subject: Subject) -> None:
    """The lens draws the noise; the twin records the inputs of the network."""
    layer = subject.layers[-1]
    with inputs_seen(subject.model.module, with_gradient=False) as network_inputs:
        attributions = subject.explained("smoothed_score_cam", layer=layer, samples=3, sigma=0.5)
    channels = len(subject.slow[0].at(layer)[0])
    network_inputs = network_inputs[:-2]  # the images again, to check that the network is deterministic
    drawn = torch.stack(network_inputs[-2 * 3 * channels :]).double().view(2, channels, 3, *subject.images.shape[1:])
    for attribution, slow, inputs in zip(attributions, subject.slow, drawn, strict=True):
        layer_masks = masks(slow.at(layer)[0], slow.x.shape[1:])
        assert all(mask is not None for mask in layer_masks), "a constant channel would have been left out"
        noise = inputs[:, :, 0] / slow.x[0] - torch.stack(layer_masks)[:, None]
        inside = slow.x[0].abs() > 0.1
        assert torch.allclose(noise[0][:, inside], noise[-1][:, inside], atol=1e-4), "all channels have the same noise"
        assert 0.4 < float(noise[0][:, inside].std()) < 0.6
        assert relative_error(attribution.layer_values[layer], smoothed_score_cam(slow, layer, inputs)) < TOLERANCE


@pytest.mark.parametrize("subject", ["plain", "flatten", "digits", "shapes"], indirect=True)
def test_group_cam_is_its_formula(subject: Subject) -> None:
    layer = subject.layers[-1]
    blurred = make_baseline("blur", subject.model.prepare(subject.images)).double()
    attributions = subject.explained("group_cam", layer=layer, groups=4)
    for attribution, slow, baseline in zip(attributions, subject.slow, blurred, strict=True):
        assert relative_error(attribution.layer_values[layer], group_cam(slow, layer, baseline)) < TOLERANCE


@pytest.mark.parametrize("subject", ["plain", "residual", "flatten", "smooth", "signal", "digits"], indirect=True)
@pytest.mark.parametrize("utility", ["rest", "score"])
def test_shapley_cam_is_its_formula(utility: str, subject: Subject) -> None:
    for layer in subject.layers:
        attributions = subject.explained("shapley_cam", layer=layer, utility=utility)
        for attribution, slow in zip(attributions, subject.slow, strict=True):
            expected = shapley_cam(slow, layer, utility == "rest")
            assert relative_error(attribution.layer_values[layer], expected) < TOLERANCE


@pytest.mark.parametrize("subject", ["plain", "flatten", "volume", "digits", "shapes"], indirect=True)
def test_refine_cam_is_the_product_over_layers(subject: Subject) -> None:
    for attribution, slow in zip(
        subject.explained("refine_cam", layer=list(subject.layers)), subject.slow, strict=True
    ):
        assert relative_error(attribution.values, refine_cam(slow, subject.layers)) < TOLERANCE


# Properties


def test_score_weighted_maps_do_not_need_a_score_that_is_not_zero(model: cs.Model, picture) -> None:
    """Ablation-CAM's paper divides by the score; here a target with a score of zero has a map too."""
    reference = cs.ablation_cam(model, picture, target="cat")
    zero = cs.ablation_cam(model, picture, target=lambda output: output[:, 2] - reference.score)
    assert zero.score == pytest.approx(0, abs=1e-6)
    assert relative_error(zero.values, reference.values) < TOLERANCE


def test_a_position_alone_carries_its_share_of_a_pooled_score() -> None:
    """Before average pooling and a linear layer, Recipro-CAM is CAM divided by the number of positions."""
    subject = subject_called("plain")
    attributions = subject.explained("recipro_cam", layer="features", gaussian=False)
    for attribution, expected in zip(attributions, subject.explained("cam", layer="features"), strict=True):
        assert relative_error(attribution.layer_values["features"] * 64, expected.layer_values["features"]) < TOLERANCE


def test_shapley_cam_of_the_bare_score_is_grad_cam_below_a_linear_head() -> None:
    subject = subject_called("plain")
    bare = subject.explained("shapley_cam", utility="score")
    for attribution, expected in zip(bare, subject.explained("grad_cam"), strict=True):
        assert relative_error(attribution.values, expected.values) < 1e-6
    for attribution, expected in zip(subject.explained("shapley_cam"), bare, strict=True):
        assert relative_error(attribution.values, expected.values) > 0.01


def test_shapley_cam_takes_a_target_that_is_no_class_as_it_is(model: cs.Model, picture) -> None:
    unit = "features.2[3]"
    for utility in ("rest", "score"):
        attribution = cs.shapley_cam(model, picture, target=unit, layer="features.1", utility=utility)
        assert (
            relative_error(attribution.values, cs.grad_cam(model, picture, target=unit, layer="features.1").values)
            < 1e-6
        )


def test_finer_cam_without_taking_anything_off_is_grad_cam(model: cs.Model, picture) -> None:
    attribution = cs.finer_cam(model, picture, alpha=0.0)
    assert relative_error(attribution.values, cs.grad_cam(model, picture).values) < 1e-6
    assert attribution.target not in attribution.notes["similar classes"].split(", ")
    assert len(attribution.notes["similar classes"].split(", ")) == 3


@pytest.mark.parametrize("target", ["cat - dog", "features.2[3]", lambda output: output[:, 0]])
def test_finer_cam_wants_a_class(target, model: cs.Model, picture) -> None:
    with pytest.raises(OutputError, match="choose a class as the target"):
        cs.finer_cam(model, picture, target=target, layer="features.0")


def test_finer_cam_wants_another_class_too(picture) -> None:
    net = seeded(PlainNet)
    net.head = torch.nn.Linear(8, 1)
    with pytest.raises(OutputError, match="only one"):
        cs.finer_cam(cs.Model(net, input=picture_model(net).input), picture)


def test_score_cam_tells_classes_apart_where_the_network_is_sure(picture) -> None:
    """The declared failure occurs for uncertain networks: the same one with scores 1000 times as large is not."""
    net = seeded(PlainNet)
    for scale, alike in ((1, True), (1000, False)):
        with torch.no_grad():
            net.head.weight.mul_(scale)
        first, second = (cs.score_cam(picture_model(net), picture, target=t).values.flatten() for t in (0, 1))
        assert (float(F.cosine_similarity(first, second, dim=0)) > 0.999) == alike


def test_a_constant_channel_has_no_weight_in_score_cam(picture) -> None:
    """A peer weights it with the score of a black image."""
    net = seeded(PlainNet)
    with torch.no_grad():
        net.features[2].weight[3] = 0
        net.features[2].bias[3] = 50
    with_it = cs.score_cam(picture_model(net), picture, target=1)
    assert float(with_it.layer_values["features"].max()) < 10
    with torch.no_grad():
        net.features[2].weight.zero_()
    assert "constant" in cs.score_cam(picture_model(net), picture, target=1).notes["blank"]


def test_score_cam_of_few_channels_takes_those_that_vary_most() -> None:
    subject = subject_called("shapes")
    (slow, _), layer = subject.slow, subject.layers[-1]
    a, _ = slow.at(layer)
    best = a.flatten(1).var(1).topk(5).indices
    scores = torch.full((len(a),), -torch.inf, dtype=torch.float64)
    for k in best.tolist():
        scores[k] = slow.score(slow.x * masks(a, slow.x.shape[1:])[k])
    expected = sum(w * a_k for w, a_k in zip(scores.softmax(0), a, strict=True))
    attribution = subject.explained("score_cam", layer=layer, channels=5)[0]
    assert relative_error(attribution.layer_values[layer], expected) < TOLERANCE


@pytest.mark.parametrize("lens", ["score_cam", "ablation_cam", "recipro_cam", "group_cam", "refine_cam"])
def test_a_layer_without_spatial_extent_is_refused(lens: str, model: cs.Model, picture) -> None:
    with pytest.raises(LayerError, match=r"'head' gives shape .* no spatial extent"):
        getattr(cs, lens)(model, picture, layer="head")


@pytest.mark.parametrize("lens", ["ablation_cam", "recipro_cam"])
def test_a_layer_above_the_target_s_own_is_refused(lens: str, model: cs.Model, picture) -> None:
    with pytest.raises(LayerError, match=r"ends at the target's own layer 'features\.0'"):
        getattr(cs, lens)(model, picture, target="features.0[1]", layer="features.2")


def test_the_maps_of_several_layers_are_averaged_in_units_of_their_peaks(model: cs.Model, picture) -> None:
    for lens in (cs.ablation_cam, cs.recipro_cam, cs.score_cam):
        single = [lens(model, picture, layer=a).values for a in ("features.1", "features")]
        averaged = lens(model, picture, layer=["features.1", "features"])
        assert (
            relative_error(averaged.values, sum(v / v.abs().max() for v in single) / 2) < 0.05
        )  # peaks before enlarging
        assert averaged.layers == ("features.1", "features")


def test_refine_cam_of_one_layer_takes_in_the_finer_resolutions_before_it() -> None:
    model = cs.load("bundled:shapes")
    assert cs.refine_cam(model, "sample:shapes/7").layers == ("layer1", "layer2", "layer3")
    assert cs.refine_cam(model, "sample:shapes/7", stages=1).layers == ("layer3",)
    assert cs.refine_cam(model, "sample:shapes/7", layer="layer2", stages=2).layers == ("layer1", "layer2")
    assert cs.refine_cam(model, "sample:shapes/7", layer=["layer1", "layer3"]).layers == ("layer1", "layer3")
