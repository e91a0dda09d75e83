"""What no lens may fall over: networks and targets that people do have, put to every lens of the catalogue."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.errors import ConvScopeError, LayerError, NoGradient, NotFinite
from convscope.spec import LensSpec
from tests.conftest import picture_model
from tests.nets import FlattenNet, PlainNet, seeded

MAPS = [spec for spec in cs.lenses() if spec.gives_map and "attention" not in spec.needs]
FEW = {"samples": 8, "steps": 8}
every_map = pytest.mark.parametrize("spec", MAPS, ids=lambda spec: spec.command)
every_target = pytest.mark.parametrize(
    "spec", [spec for spec in MAPS if spec.takes_target], ids=lambda spec: spec.command
)


SEES_SOMETHING = {
    "score_cam": "a softmax of equal scores weighs all channels alike: declared as not class-sensitive",
    "smoothed_score_cam": "the same",
    "integrated_score_cam": "the same",
    "finer_cam": "what speaks for the similar classes speaks against this one",
    "shapley_cam": "its utility counts the other classes too",
}
"""Lenses that need not be blank where the target is constant."""


def explain(spec: LensSpec, model: cs.Model, picture: np.ndarray | Tensor, **given: object) -> cs.Attribution:
    offered = {**FEW, **given}
    taken = {k: v for k, v in offered.items() if k in spec.parameters or k in spec.inputs}
    return getattr(cs, spec.name)(model, picture, **taken)


@every_target
@pytest.mark.parametrize("score", [0.0, 1.5])
def test_a_target_that_does_not_depend_on_the_input_gives_a_blank_map_that_says_why(
    spec, score: float, picture
) -> None:
    """With a score of zero nothing may be divided by it."""
    net = seeded(PlainNet)
    with torch.no_grad():
        net.head.weight[1] = 0
        net.head.bias[1] = score
    attribution = explain(spec, picture_model(net), picture, target=1)
    if spec.name in SEES_SOMETHING:
        assert torch.isfinite(attribution.values).all()
        return
    if spec.name == "full_grad":
        assert attribution.values.abs().max() <= 1  # the last bias alone has no place
    assert attribution.blank, attribution
    assert len(attribution.notes["blank"]) > 20
    assert "nan" not in str(attribution.values.tolist())


class WritesToItsInput(PlainNet):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(0.5))


class DoesNot(PlainNet):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * 0.5)


@every_map
def test_a_network_that_writes_to_its_input_is_explained_like_one_that_does_not(spec, picture) -> None:
    kept = picture_model(seeded(DoesNot)).prepare(picture).tensor
    given = kept.clone()
    actual, expected = (
        explain(spec, picture_model(seeded(net)), given, target=1) for net in (WritesToItsInput, DoesNot)
    )
    torch.testing.assert_close(
        actual.values, expected.values, rtol=1e-3, atol=1e-5 * float(expected.values.abs().max())
    )
    assert torch.equal(given, kept)


class Overflows(PlainNet):
    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.head((-1 - x).sqrt().flatten(2).mean(2))


@every_target
def test_a_nan_midway_is_refused_with_the_operation_at_which_it_begins(spec, picture) -> None:
    with pytest.raises(NotFinite, match="overflows first at the operation 'sqrt' in its own forward"):
        explain(spec, picture_model(seeded(Overflows)), picture, target=1)


@every_map
def test_a_traced_network_is_explained_or_refused_with_the_way_out(spec, picture) -> None:
    traced = torch.jit.trace(seeded(PlainNet), torch.zeros(1, 3, 16, 16), check_trace=False)
    try:
        attribution = explain(spec, picture_model(traced), picture, target=1)
    except LayerError as error:
        assert any(word in str(error) for word in ("scripted", "traced", "hides"))  # noqa: PT017
        assert spec.takes_layer or "unit" in spec.inputs or spec.family == "backward"
    else:
        true = explain(spec, picture_model(seeded(PlainNet)), picture, target=1)
        torch.testing.assert_close(
            attribution.values, true.values, rtol=1e-3, atol=1e-4 * float(true.values.abs().max())
        )


class NeverTheSame(FlattenNet):
    """Dropout that is on whatever the mode."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.features(x), 0.5, training=True)
        return self.classifier(x)


@pytest.mark.parametrize(
    "spec", [s for s in MAPS if s.family in ("backward", "perturbation")], ids=lambda spec: spec.command
)
def test_a_network_that_answers_at_random_is_found_out(spec, picture) -> None:
    torch.manual_seed(0)  # two draws of many agree to a thousandth by chance: not these
    attribution = explain(spec, picture_model(seeded(NeverTheSame)), picture, target=1)
    assert "nondeterministic" in attribution.notes


class Detached(FlattenNet):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


@every_target
def test_a_network_that_cuts_its_gradient_off_is_refused_or_explained_without(spec, picture) -> None:
    try:
        attribution = explain(spec, picture_model(seeded(Detached)), picture, target=1)
    except (NoGradient, LayerError) as error:
        assert "cut off" in str(error) or "gradient" in str(error)  # noqa: PT017
    else:
        true = explain(spec, picture_model(seeded(FlattenNet)), picture, target=1)
        torch.testing.assert_close(
            attribution.values, true.values, rtol=1e-3, atol=1e-4 * float(true.values.abs().max())
        )


@every_map
def test_an_image_of_one_colour_is_explained_or_refused_in_one_sentence(spec, picture) -> None:
    grey = np.full_like(picture, 128)
    try:
        attribution = explain(spec, picture_model(seeded(FlattenNet)), grey, target=1)
    except ConvScopeError as error:
        assert len(str(error)) < 400  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert torch.isfinite(attribution.values).all()


@every_map
def test_a_network_of_one_unit_everywhere(spec, picture) -> None:
    """One channel, one class: nothing to rank, nothing to contrast."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))
    model = cs.Model(net.eval(), input=cs.ImageInput(size=16))
    try:
        attribution = explain(spec, model, picture)
    except ConvScopeError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert len(str(error)) < 400  # noqa: PT017
    else:
        assert torch.isfinite(attribution.values).all()
