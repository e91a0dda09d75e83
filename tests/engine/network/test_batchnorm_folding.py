"""Folding batch norms changes only the speed of a run: not its values, not the network, not the next run."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

import convscope as cs
from convscope.engine.network import batchnorm_folding
from tests.engine.networks import condition, pictured, seeded, tensor
from tests.narrowing import tensor_in

RUNS: dict[str, dict[str, int]] = {"integrated_gradients": {"steps": 12}, "smooth_grad": {"samples": 12}}


Norm = TypeVar("Norm", bound=_BatchNorm)


def randomized(norm: Norm) -> Norm:
    """A batch norm whose statistics are not zeros and ones."""
    nn.init.uniform_(tensor_in(norm.running_mean), -0.5, 0.5)
    nn.init.uniform_(tensor_in(norm.running_var), 0.3, 3)
    if norm.affine:
        nn.init.uniform_(norm.weight, -1.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    return norm


class Normed(nn.Module):
    """Convolution and batch norm, twice, with a residual sum; subclasses change the connections."""

    def __init__(self, *, bias: bool = False, affine: bool = True, axes: int = 2) -> None:
        super().__init__()
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axes - 1]
        self.conv1, self.bn1 = convolution(3, 5, 3, padding=1, bias=bias), randomized(norm(5, affine=affine))
        self.conv2, self.bn2 = convolution(5, 5, 3, padding=1, bias=bias), randomized(norm(5, affine=affine))
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu_(self.bn1(self.conv1(x)))
        return self.answer(F.relu_(self.bn2(self.conv2(first)) + first))

    def answer(self, maps: Tensor) -> Tensor:
        return self.head(maps.flatten(2).mean(2))


class UsesConvolutionTwice(Normed):
    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv1(x)
        return self.answer(F.relu(self.bn1(maps)) + maps)


class SharesConvolution(Normed):
    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.bn1(self.conv1(x)))
        return self.answer(self.bn2(self.conv2(F.relu(self.bn1(self.conv2(first))))))


class SharesNorm(Normed):
    def forward(self, x: Tensor) -> Tensor:
        return self.answer(F.relu(self.bn1(self.conv2(F.relu(self.bn1(self.conv1(x)))))))


class WritesBetween(Normed):
    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv1(x)
        maps += 1
        maps[:, 0] = 2
        return self.answer(F.relu(self.bn1(maps)))


class NormsByKeyword(Normed):
    def forward(self, x: Tensor) -> Tensor:
        bn = self.bn1
        maps = F.conv2d(input=x, weight=self.conv1.weight, padding=1)
        return self.answer(
            F.batch_norm(
                input=maps,
                running_mean=bn.running_mean,
                running_var=bn.running_var,
                weight=bn.weight,
                bias=bn.bias,
                eps=1e-3,
            )
        )


class NormsByBatch(Normed):
    """No running statistics: the norm depends on the batch and must not be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(5, track_running_stats=False)


NETS: dict[str, Callable[[], nn.Module]] = {
    "plain": Normed,
    "biases": lambda: Normed(bias=True),
    "norms without affine parameters": lambda: Normed(affine=False),
    "a convolution used twice": UsesConvolutionTwice,
    "a shared convolution": SharesConvolution,
    "a shared norm": SharesNorm,
    "in-place writes in between": WritesBetween,
    "keywords": NormsByKeyword,
    "norms of the batch": NormsByBatch,
}


def run_both(build: Callable[[], Any], x: Tensor, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The attributions with and without folding."""
    folded = getattr(cs, name)(build(), x, target=1, **RUNS[name])
    with monkeypatch.context() as patch:
        patch.setattr(batchnorm_folding, "MIN_PASSES", 10**9)
        return folded, getattr(cs, name)(build(), x, target=1, **RUNS[name])


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
@pytest.mark.parametrize("name", RUNS)
def test_folding_changes_neither_values_nor_network(build: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = seeded(build).train()
    before = condition(net)
    assert_equal(*run_both(lambda: cs.Model(net), tensor(), name, monkeypatch))
    assert condition(net) == before


def assert_equal(attribution: Any, expected: Any) -> None:
    """Whether two attributions have the same values up to rounding."""
    tolerance = 1e-5 * float(expected.values.abs().max())
    torch.testing.assert_close(attribution.values, expected.values, atol=tolerance, rtol=1e-4)


@pytest.mark.parametrize("axes", [1, 3])
def test_folding_for_signals_and_volumes(axes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = tensor(1, 3, *(8,) * axes)
    folded, expected = run_both(lambda: cs.Model(seeded(lambda: Normed(axes=axes))), x, "smooth_grad", monkeypatch)
    torch.testing.assert_close(folded.values, expected.values, atol=1e-6, rtol=1e-4)


def _converted_to_double(net: Normed) -> None:
    net.double()


def _trained(net: Normed) -> None:
    net.train()
    for seed in range(3):
        net(tensor(4, 3, 16, 16, seed=seed) * 3 + 2)
    with torch.no_grad():
        net.conv1.weight.mul_(1.5)
    net.eval()


def _loaded(net: Normed) -> None:
    net.load_state_dict(seeded(Normed, 7).state_dict())


def _assigned(net: Normed) -> None:
    net.load_state_dict(seeded(Normed, 7).state_dict(), assign=True)


def _without_norm(net: Normed) -> None:
    net.bn1 = nn.Identity()  # type: ignore[assignment]  # takes the place of the norm


def _with_another_norm(net: Normed) -> None:
    net.bn1 = seeded(lambda: randomized(nn.BatchNorm2d(5)), 9)


def _moved(net: Normed) -> None:
    net._apply(lambda t: t.clone())  # what .to(device) does


def _hooked(net: Normed) -> None:
    net.conv1.register_forward_hook(lambda _m, _i, output: output * 2)


CHANGES = [_converted_to_double, _trained, _loaded, _assigned, _without_norm, _with_another_norm, _moved, _hooked]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
@pytest.mark.parametrize("name", RUNS)
def test_changes_of_the_network_since_the_last_run_are_respected(
    change: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = cs.Model(seeded(Normed))
    getattr(cs, name)(model, tensor(), **RUNS[name])
    change(model.module)
    folded, expected = run_both(lambda: model, tensor(), name, monkeypatch)
    new_model = getattr(cs, name)(cs.Model(model.module), tensor(), target=1, **RUNS[name])
    for other in (expected, new_model):
        assert_equal(folded, other)


def test_a_branch_that_only_some_inputs_take_is_not_folded_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The norm is used in the observed forward, but not for noisy or darkened copies."""

    class Gated(Normed):
        def forward(self, x: Tensor) -> Tensor:
            maps = self.conv1(x)
            if float(x.detach()[0].std()) < 1.2:
                maps = self.bn1(maps)
            return self.answer(F.relu(maps))

    assert_equal(*run_both(lambda: cs.Model(seeded(Gated)), tensor(), "smooth_grad", monkeypatch))


def test_the_users_hooks_see_the_layers_own_outputs() -> None:
    """A user's hook on a convolution gets the convolution's own output, not the folded one."""
    net, recorded = seeded(Normed), []
    net.conv1.register_forward_hook(lambda _m, inputs, output: recorded.append((inputs[0], output)))
    cs.smooth_grad(cs.Model(net), tensor(), samples=12)
    for conv_input, output in recorded:
        torch.testing.assert_close(output, net.conv1.forward(conv_input))


def test_a_batch_and_its_images_one_by_one_agree_when_folded() -> None:
    model, x = pictured(seeded(Normed)), tensor(3, 3, 16, 16)
    for name, options in RUNS.items():
        lens = getattr(cs, name)
        attributions = lens(model, list(x), **options)
        for attribution, image in zip(attributions, x, strict=True):
            torch.testing.assert_close(attribution.values, lens(model, image, **options).values)


class FoldsViews(Normed):
    """Two views of each image in the batch dimension: contiguous tensors for inputs of any memory format."""

    def forward(self, x: Tensor) -> Tensor:
        views = torch.stack([x, 0.5 * x], 1).flatten(0, 1)
        maps = F.relu(self.bn1(self.conv1(views)))
        return self.head(maps.view(len(maps), -1).unflatten(1, (5, -1)).mean(2)).unflatten(0, (len(x), 2)).mean(1)


@pytest.mark.parametrize("normed", [True, False])
def test_kernels_are_channels_last_only_if_their_outputs_are(normed: bool) -> None:
    network = seeded(FoldsViews)
    if not normed:
        _without_norm(network)
    model, images = cs.Model(network.eval(), input=cs.ImageInput(size=(8, 6))), torch.randn(1, 3, 8, 6)
    attribution = cs.integrated_gradients(model, images, target=1, steps=16, baseline=torch.zeros(3, 8, 6))
    gap = attribution.notes["completeness gap"]
    assert abs(gap) < 0.05 * max(1.0, abs(float(attribution.values.abs().sum())))
