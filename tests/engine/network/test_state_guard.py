"""The state of the model is restored exactly after a successful run, a refused one, and one that raises."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.network.state_guard import preserve_state
from convscope.errors import ConvScopeError, ModelFailed, NoGradient
from tests.engine.networks import (
    Counts,
    FrozenBackbone,
    Raises,
    Stages,
    axes_net,
    condition,
    mixed,
    pictured,
    seeded,
    small,
    small_network,
    tensor,
)

LENSES = [cs.predict, cs.saliency, cs.grad_cam, cs.eigen_cam, cs.integrated_gradients, cs.smooth_grad_cam_plus_plus]


by_name = pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.__name__)


def assert_same(value: Any, expected: Any) -> None:
    if isinstance(value, cs.Prediction):
        assert value.confidences == pytest.approx(expected.confidences, abs=1e-6)
    else:
        torch.testing.assert_close(value.values, expected.values)


@by_name
def test_a_model_in_training_mode_runs_in_eval_mode_and_is_restored(lens: Any) -> None:
    net, in_eval_mode = (seeded(lambda: nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(3), *small())) for _ in range(2))
    net.train()
    before = condition(net)
    value, expected = lens(cs.Model(net), tensor()), lens(cs.Model(in_eval_mode), tensor())
    assert condition(net) == before
    assert_same(value, expected)


@by_name
def test_every_flag_of_every_submodule_is_restored(lens: Any) -> None:
    net = mixed()
    before = condition(net)
    lens(cs.Model(net), tensor())
    assert condition(net) == before


@by_name
def test_a_frozen_model_is_explained_like_a_trainable_one(lens: Any) -> None:
    trainable, frozen = small_network(), small_network().requires_grad_(False)
    before = condition(frozen)
    value, expected = lens(cs.Model(frozen), tensor()), lens(cs.Model(trainable), tensor())
    assert condition(frozen) == before
    assert_same(value, expected)


@by_name
@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode], ids=lambda mode: mode.__name__)
def test_no_grad_of_the_caller_does_not_prevent_gradients_and_is_restored(lens: Any, around: Any) -> None:
    net = small_network()
    expected = lens(cs.Model(net), tensor())
    with around():
        value = lens(cs.Model(net), tensor())
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (around is torch.inference_mode)
    assert_same(value, expected)


@by_name
@pytest.mark.parametrize("kind", ["image", "list of tensors", "list of images"])
def test_inputs_prepared_under_inference_mode_can_be_explained(lens: Any, kind: str) -> None:
    model, pixels = pictured(), np.full((16, 16, 3), 99, np.uint8)
    inputs = {"image": pixels, "list of tensors": [tensor()[0], tensor()[0]], "list of images": [pixels, pixels]}
    expected = lens(model, inputs[kind])
    with torch.inference_mode():
        values = lens(model, inputs[kind])
    for value, expected_value in zip(
        values if isinstance(values, list) else [values],
        expected if isinstance(expected, list) else [expected],
        strict=True,
    ):
        assert_same(value, expected_value)


def test_a_network_without_gradients_is_refused_and_a_lens_without_gradients_suggested() -> None:
    calls: list[tuple[Callable[..., Any], dict[str, str]]] = [
        (cs.saliency, {}),
        (cs.integrated_gradients, {}),
        (cs.grad_cam, {"layer": "first"}),
    ]
    for lens, options in calls:
        model = cs.Model(seeded(FrozenBackbone))
        before = condition(model.module)
        with pytest.raises(
            NoGradient, match=r"FrozenBackbone's score is cut off .*torch\.no_grad inside .* such as eigen-cam"
        ):
            lens(model, tensor(), **options)
        assert condition(model.module) == before
    assert cs.eigen_cam(cs.Model(seeded(FrozenBackbone)), tensor(), layer="first").layers == ("first",)


def test_a_network_under_inference_mode_is_refused_too() -> None:
    class Detached(Stages):
        @torch.inference_mode()
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    for lens in (cs.saliency, cs.grad_cam):
        with pytest.raises(NoGradient, match="nothing can be explained"):
            lens(cs.Model(seeded(Detached)), tensor())


@by_name
@pytest.mark.parametrize(
    "error", [ValueError("bad luck"), RuntimeError("bad luck"), ZeroDivisionError("bad luck")], ids=repr
)
def test_an_error_in_the_forward_is_reported_in_one_sentence_and_state_restored(lens: Any, error: Exception) -> None:
    net = seeded(lambda: Raises(error)).train()
    before = condition(net)
    with pytest.raises(
        ModelFailed, match=rf"^Raises raised {type(error).__name__} on input \(\d, 3, 16, 16\): bad luck$"
    ) as failure:
        lens(cs.Model(net), tensor())
    assert failure.value.__cause__ is error
    assert condition(net) == before


@by_name
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_an_interrupt_is_passed_on_and_state_restored(lens: Any, error: BaseException) -> None:
    net = seeded(lambda: Raises(error)).train()
    before = condition(net)
    with pytest.raises(type(error)):
        lens(cs.Model(net), tensor())
    assert condition(net) == before


@by_name
def test_buffers_that_a_forward_writes_or_replaces_are_restored(lens: Any) -> None:
    net = seeded(Counts)
    before = condition(net)
    lens(cs.Model(net), tensor())
    assert condition(net) == before
    net(tensor())
    assert net.calls == 1


def test_a_forward_may_register_a_buffer() -> None:
    class Caches(Stages):
        def forward(self, x: Tensor) -> Tensor:
            self.register_buffer("cache", x.mean()[None])
            return super().forward(x)

    net = seeded(Caches)
    for _ in range(2):
        assert not cs.grad_cam(cs.Model(net), tensor()).blank


@by_name
def test_the_users_hooks_run_and_are_kept(lens: Any) -> None:
    calls: list[str] = []
    net = small_network()
    net.register_forward_pre_hook(lambda *_: calls.append("before"))
    net[0].register_forward_hook(lambda *_: calls.append("after"))
    before = condition(net)
    lens(cs.Model(net), tensor())
    assert {"before", "after"} <= set(calls)
    assert condition(net) == before
    calls.clear()
    net(tensor())
    assert calls == ["before", "after"]


def test_a_hook_that_changes_a_layer_is_part_of_the_network() -> None:
    net, doubled = small_network(), small_network()
    net[2].register_forward_hook(lambda _m, _i, output: output * 2)
    with torch.no_grad():
        doubled[2].weight.mul_(2), doubled[2].bias.mul_(2)
    for layer in ("2", "0"):
        values, expected = (cs.hires_cam(cs.Model(n), tensor(), layer=layer).values for n in (net, doubled))
        torch.testing.assert_close(values, expected)


def test_hooks_that_a_forward_registers_are_removed() -> None:
    class Leaves(Stages):
        def forward(self, x: Tensor) -> Tensor:
            self.first.register_forward_hook(lambda *_: None)
            return super().forward(x)

    net = seeded(Leaves)
    cs.grad_cam(cs.Model(net), tensor())
    assert not net.first._forward_hooks


@by_name
def test_random_states_and_thread_count_of_the_caller_are_restored(lens: Any) -> None:
    class Draws(Stages):
        def forward(self, x: Tensor) -> Tensor:
            noise = torch.rand(1) + np.random.rand() + random.random()  # noqa: NPY002
            torch.set_num_threads(2)
            return super().forward(x) + 0 * noise

    def process_state() -> tuple[Any, ...]:
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random(), torch.get_num_threads()  # noqa: NPY002

    def seed() -> None:
        torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002

    seed()
    expected = process_state()
    seed()
    lens(cs.Model(seeded(Draws)), tensor())
    assert process_state() == expected


def test_values_do_not_depend_on_the_default_dtype() -> None:
    expected: dict[Any, Tensor] = {}
    model = pictured()
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            for lens in (
                cs.saliency,
                cs.grad_cam,
                cs.integrated_gradients,
                cs.guided_integrated_gradients,
                cs.expected_gradients,
            ):
                values = lens(model, torch.ones(1, 3, 16, 16, dtype=torch.float32)).values
                assert values.dtype == torch.float32
                torch.testing.assert_close(values, expected.setdefault(lens, values))
            assert torch.get_default_dtype() == dtype
        finally:
            torch.set_default_dtype(torch.float32)


def test_nested_contexts_restore_state_only_at_the_outermost() -> None:
    model = cs.Model(mixed())
    before = condition(model.module)
    with model.preserve_state():
        inside = condition(model.module)
        with model.preserve_state():
            cs.grad_cam(model, tensor())
        assert condition(model.module)["modules"] == inside["modules"]
        assert not any(m.training for m in model.module.modules())
        assert not any(p.requires_grad for p in model.module.parameters())
    with torch.no_grad(), model.preserve_state():
        assert torch.is_grad_enabled()
    assert condition(model.module) == before


class Scriptable(nn.Module):
    """A network that TorchScript can compile: no inheritance, one buffer that counts calls."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.dropout = small(), nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return self.net(self.dropout(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_network_can_be_explained_at_its_input_and_is_restored() -> None:
    """A TorchScript module stores its flags and buffers, and runs its layers, outside Python."""
    source = seeded(Scriptable)
    net = torch.jit.script(source.train())
    expected = cs.saliency(cs.Model(source), tensor())
    before = [m.training for m in net.modules()], {k: v.tolist() for k, v in net.state_dict().items()}
    torch.testing.assert_close(cs.saliency(cs.Model(net), tensor()).values, expected.values)
    with pytest.raises(ConvScopeError, match=r"scripted|TorchScript"):
        cs.grad_cam(cs.Model(net), tensor())
    assert ([m.training for m in net.modules()], {k: v.tolist() for k, v in net.state_dict().items()}) == before


def test_the_layers_of_a_scripted_archive_are_refused(assets: Path) -> None:
    net = torch.jit.load(assets / "loaders/mnist_cnn_scripted.pt")
    assert not cs.saliency(cs.Model(net), tensor(1, 1, 28, 28)).blank
    with pytest.raises(ConvScopeError, match=r"scripted|TorchScript"):
        cs.grad_cam(cs.Model(net), tensor(1, 1, 28, 28))


def test_parameters_made_under_inference_mode_are_refused_and_unchanged() -> None:
    with torch.inference_mode():
        net = small()
    for lens in (cs.saliency, cs.grad_cam):
        with pytest.raises(ConvScopeError, match="inference") as refusal:
            lens(cs.Model(net), tensor())
        assert "\n" not in str(refusal.value)
    assert all(p.requires_grad for p in net.parameters())


def test_lazy_layers_are_refused_until_they_are_initialized() -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.LazyLinear(4)).eval()
    for lens in (cs.saliency, cs.grad_cam):
        with pytest.raises(ConvScopeError, match="run it once"):
            lens(cs.Model(net), tensor())
    net(tensor())
    assert not cs.grad_cam(cs.Model(net), tensor()).blank


class NormalisesInPlace(nn.Module):
    """Normalization of the input as in many networks, here in place."""

    def __init__(self, axes: int = 2) -> None:
        super().__init__()
        self.net = axes_net(axes, 3)

    def forward(self, x: Tensor) -> Tensor:
        x -= 0.5
        x /= 0.25
        return self.net(x)


class NormalisesInACopy(NormalisesInPlace):
    def forward(self, x: Tensor) -> Tensor:
        return self.net((x - 0.5) / 0.25)


@pytest.mark.parametrize("lens", [*LENSES, cs.gradient_x_input, cs.fem, cs.smooth_grad], ids=lambda lens: lens.__name__)
@pytest.mark.parametrize("kind", ["signal", "image", "image channels last", "volume"])
def test_a_network_that_writes_to_its_input_writes_to_a_copy(lens: Any, kind: str) -> None:
    """Neither the caller's tensor nor the input of the next pass may change."""
    axes = ("signal", "image", "volume").index(kind.split()[0]) + 1
    memory_format = torch.channels_last if "last" in kind else torch.preserve_format
    networks: list[Any] = [NormalisesInPlace(axes).eval(), NormalisesInACopy(axes).eval()]
    in_place, in_a_copy = (net.to(memory_format=memory_format) for net in networks)
    x = tensor(2, 3, *(10,) * axes).clone(memory_format=memory_format)
    before = x.clone()
    values, expected = lens(cs.Model(in_place), x), lens(cs.Model(in_a_copy), before.clone())
    assert torch.equal(x, before)
    for value, expected_value in zip(values, expected, strict=True):
        assert_same(value, expected_value)


def test_state_is_restored_when_the_body_of_the_context_raises() -> None:
    net = mixed()
    before = condition(net)

    def disturb() -> None:
        net[0].train()
        net[4].inplace = True
        net[3].weight.requires_grad_(True)
        net[0].weight.grad = None
        net[1].running_mean.add_(1)
        net[2].register_forward_hook(lambda *_: None)
        raise KeyError

    with pytest.raises(KeyError), preserve_state(list(net.modules())):
        disturb()
    assert condition(net) == before
