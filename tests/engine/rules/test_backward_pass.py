"""A run of backward rules: errors, notes, and every kind of target, dtype and output."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.context.metering import reporting
from convscope.engine.targets.target import Difference
from convscope.errors import Cancelled, ConvScopeError, LayerError, ModelFailed, NoRule
from tests.conftest import picture_model
from tests.engine.rules.networks import EVERY, Body, _apart, _left_alone, body
from tests.narrowing import listed
from tests.nets import FlattenNet, PlainNet, ResidualNet, seeded

# Errors and notes


@pytest.mark.parametrize("lens", [*EVERY, "excitation_backprop", "concept_relevance", "guided_grad_cam", "deep_shap"])
def test_an_operation_without_a_rule_is_named_with_its_layer(lens: str) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.fft2(x).real + torch.cumprod(x, 1)

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Odd(), nn.Flatten(), nn.Linear(144, 2)).eval()
    x = torch.randn(1, 3, 8, 8)
    layer = {"layer": "1"} if lens in ("excitation_backprop", "concept_relevance", "guided_grad_cam") else {}
    with _left_alone(net), pytest.raises(NoRule, match=r"operation 'fft_fft2' in layer '2' has no rule.*on_missing"):
        getattr(cs, lens)(net, x, **layer)
    missing = getattr(cs, lens)(net, x, on_missing="gradient", **layer).notes["without a rule"]
    assert "fft_fft2 in 2 ×1" in missing
    assert "cumprod in 2 ×1" in missing


def test_a_function_of_the_networks_own_has_no_rule() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(_ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(_ctx: Any, g: Tensor) -> Tensor:
            return g * 2

    net, x = body(lambda net, x: Double.apply(net.conv(x))), torch.randn(1, 3, 8, 8)
    for lens in EVERY:
        with pytest.raises(NoRule, match="'Double'"):
            getattr(cs, lens)(net, x)
        assert "Double" in getattr(cs, lens)(net, x, on_missing="gradient").notes["without a rule"]


def test_checkpointing_is_refused_with_the_way_out() -> None:
    from torch.utils.checkpoint import checkpoint

    net = body(lambda net, x: checkpoint(lambda t: F.relu(net.conv(t)), x, use_reentrant=False))
    for lens in EVERY:
        with _left_alone(net), pytest.raises(ModelFailed, match="switch checkpointing off"):
            getattr(cs, lens)(net, torch.randn(1, 3, 8, 8))


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("trace_all", [True, False])
def test_a_scripted_network_is_refused_with_the_way_out(trace_all: bool) -> None:
    network = seeded(PlainNet, inplace=False)
    net: nn.Module = network
    if trace_all:
        net = torch.jit.trace(network, torch.randn(1, 3, 16, 16))
    else:
        network.features = torch.jit.trace(network.features, torch.randn(1, 3, 16, 16))
    for lens in EVERY:
        with pytest.raises(LayerError, match=r"traced or scripted.*use a lens that needs no rules"):
            getattr(cs, lens)(net, torch.randn(1, 3, 16, 16))


def test_chance_within_a_network_is_told() -> None:
    net = body(lambda net, x: F.dropout(net.conv(x), 0.5, training=True))
    for lens in EVERY:
        assert "dropout" in getattr(cs, lens)(net, torch.randn(1, 3, 8, 8)).notes["nondeterministic"]
    assert (
        "nondeterministic" not in cs.lrp(body(lambda net, x: F.dropout(x, 0.5, False)), torch.randn(1, 3, 8, 8)).notes
    )


def test_a_network_that_takes_another_way_for_the_reference_is_refused() -> None:
    def middle(net: Body, x: Tensor) -> Tensor:
        return F.relu(net.conv(x)) if x.std() > 0.5 else x

    net, x = body(middle), 5 * torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ModelFailed, match="other operations on the reference"):
        cs.deep_lift(net, x)


@pytest.mark.parametrize("lens", EVERY)
def test_nothing_is_left_on_a_network_after_an_error(lens: str) -> None:
    net = body(lambda net, x: net.conv(x))
    x = torch.randn(1, 3, 8, 8)
    with _left_alone(net), pytest.raises(ConvScopeError):
        getattr(cs, lens)(net, x, target=lambda output: output)
    with _left_alone(net), pytest.raises(Cancelled), reporting(_stop):
        getattr(cs, lens)(net, x)


def _stop(_done: int, _total: int) -> None:
    raise Cancelled("enough")


def test_rules_are_counted_once_for_each_operation_that_was_reached(picture) -> None:
    model = picture_model(seeded(ResidualNet))
    treated = cs.lrp(model, picture, composite="epsilon-plus-flat").notes["rules"]
    assert treated == {"conv + batch_norm: z-plus": 1, "conv + batch_norm: flat": 1, "linear: epsilon": 1,
                       "relu: pass": 2, "add: proportional": 1}  # fmt: skip
    flat = picture_model(seeded(FlattenNet))
    assert cs.lrp(flat, picture).notes["rules"] == {
        "relu: pass": 2, "max_pool2d: winner takes all": 1, "linear: epsilon": 2, "conv2d: z-plus": 1
    }  # fmt: skip
    assert cs.deep_lift(flat, picture).notes["rules"] == {"relu: rescale": 2, "max_pool2d: rescale": 1}
    assert cs.deep_lift(flat, picture, rule="reveal-cancel").notes["rules"] == {
        "relu: reveal-cancel": 2, "max_pool2d: rescale": 1
    }  # fmt: skip
    assert cs.guided_backprop(flat, picture).notes["rules"] == {"relu: guided": 2}


# Targets, dtypes and outputs


TARGETS: dict[str, Any] = {
    "difference": Difference(1, 2), "unit": "conv[3]", "position": "first[2, 3, 4]", "own": [0, 3],
    "function": lambda output: output[:, 1] ** 2,
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_any_target_is_explained(target: str) -> None:
    net, x = (
        body(lambda net, x: F.relu(net.conv(x))),
        torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
    )
    for lens in EVERY:
        batch = getattr(cs, lens)(net, x, target=TARGETS[target])
        for row, attribution in enumerate(batch):
            image_target = TARGETS[target][row] if target == "own" else TARGETS[target]
            single = getattr(cs, lens)(net, x[row : row + 1], target=image_target)
            torch.testing.assert_close(
                attribution.values, single.values, rtol=1e-3, atol=1e-4 * float(single.values.abs().max())
            )
            if lens == "lrp":
                assert attribution.notes["relative conservation gap"] < 1e-4
            if lens == "deep_lift":
                assert abs(attribution.notes["relative completeness gap"]) < 1e-3 or target == "function"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_any_precision_will_do(dtype: torch.dtype) -> None:
    net, x = body(lambda net, x: F.relu(net.norm(net.conv(x)))), torch.randn(2, 3, 8, 8)
    expected = {lens: getattr(cs, lens)(net, x, target=1) for lens in EVERY}
    converted = copy.deepcopy(net).to(dtype)
    for lens in EVERY:
        for actual, reference in zip(getattr(cs, lens)(converted, x.to(dtype), target=1), expected[lens], strict=True):
            assert actual.values.dtype == torch.float32
            allowed = 1e-4 if dtype == torch.float64 else 0.5 if lens == "rectified_gradient" else 0.2
            assert _apart(actual.values, reference.values) < allowed, lens


def test_outputs_in_tuples_and_dicts_are_explained() -> None:
    class Several(Body):
        def forward(self, x: Tensor) -> Any:
            return {"scores": super().forward(x), "other": (x, x)}

    net, x = seeded(Several, lambda net, x: net.conv(x)), torch.randn(1, 3, 8, 8)
    tensor_net = body(lambda net, x: net.conv(x))
    for lens in EVERY:
        attribution = getattr(cs, lens)(cs.Model(net, output="scores"), x)
        assert torch.equal(attribution.values, getattr(cs, lens)(tensor_net, x).values)


def test_a_network_that_ends_in_softmax_says_how_much_is_missing() -> None:
    class Ending(Body):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).softmax(1)

    attribution = cs.lrp(seeded(Ending, lambda net, x: net.conv(x)), torch.randn(1, 3, 8, 8))
    assert torch.isfinite(attribution.values).all()
    assert attribution.notes["relative conservation gap"] > 1e-3


def test_preprocessing_within_a_network_moves_the_bounds_along() -> None:
    """zᴮ and flat apply to the first convolution if its input is scaled first, and the shift absorbs its share."""

    class Scaling(FlattenNet):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward((x - torch.tensor(0.25)) / 0.5)

    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 3, 16, 16, generator=generator)
    within = cs.Model(seeded(Scaling), input=cs.ImageInput(size=16, mean=(0.0,) * 3, std=(1.0,) * 3))
    outside = cs.Model(seeded(FlattenNet), input=cs.ImageInput(size=16, mean=(0.25,) * 3, std=(0.5,) * 3))
    for composite in ("epsilon-gamma-box", "epsilon-plus-flat"):
        for attribution, expected in zip(
            listed(cs.lrp(within, pixels, composite=composite)),
            listed(cs.lrp(outside, (pixels - 0.25) / 0.5, composite=composite)),
            strict=True,
        ):
            assert _apart(attribution.values, expected.values) < 1e-4
    for attribution in cs.lrp(within, pixels):
        assert attribution.notes["relative conservation gap"] < 1e-4
        assert abs(attribution.notes["absorbed by biases"]) > 1e-3
