"""The part of a network after a layer, run alone, gives the same as a full forward with the layer's output replaced."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import convscope as cs
from convscope.engine.run.suffix_replay import SuffixReplay
from convscope.engine.targets.target import resolve_target
from convscope.errors import LayerError
from tests.engine.networks import seeded, small_network, tensor


class Arms(nn.Module):
    """A residual sum and a concatenation, either arm of which may hold the layer; ``join`` says how they meet."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.mix, self.fc = nn.Conv2d(8, 4, 1), nn.Linear(4 * 14 * 14, 5)
        self.join = join or torch.add

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.stem(x))
        x = self.join(self.left(x), self.right(x))
        x = self.mix(torch.cat([x, F.elu(x)], 1))
        return self.fc(x.view(x.size(0), -1))


class Reused(nn.Module):
    """One layer used twice, and an in-place ReLU after it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.stem(x)).relu_()
        return self.fc(self.conv(x).relu_().mean((2, 3)))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[int]]:
        return self.conv(x), list(x.shape)


class Does(nn.Module):
    """Two convolutions between and after which ``do(net, x)`` happens to the map."""

    def __init__(self, between: Any = None, after: Any = None) -> None:
        super().__init__()
        self.stem, self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 5)
        self.shift = torch.full((1, 4, 1, 1), 0.3)  # no buffer: a plain attribute
        self.pair = Pair()
        self.register_buffer("calls", torch.zeros(()))
        self.between, self.after = between or (lambda _net, x: x), after or (lambda _net, x: x)

    def forward(self, x: Tensor) -> Tensor:
        x = self.between(self, self.stem(x))
        return self.fc(self.after(self, self.conv(x)).mean((2, 3)))


def _attend(net: nn.Module, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).reshape(x.shape)


def _count_and_draw(net: Any, x: Tensor) -> Tensor:
    net.calls += 1
    return x + torch.rand(1) * 0 + net.calls * 0.1


def _at_once(net: Any, x: Tensor) -> Tensor:
    y = x * 2
    z = net.shift.clone()
    z.mul_(2)
    return y.mul_(net.shift) + z + torch.arange(4.0).view(1, 4, 1, 1)


def _shaped(_net: Any, x: Tensor) -> Tensor:
    return x.reshape(len(x), 4, -1)[:, :, : x.shape[-1]].view(len(x), 4, 1, -1)


def _split(_net: Any, x: Tensor) -> Tensor:
    return torch.stack([part * 2 for part in x.split(2, 1)], 1).flatten(1, 2)


def _overwritten(a: Tensor, b: Tensor) -> Tensor:
    return (a + b) * 1 + 0 * a.mul_(3)


AT_ONCE: dict[str, tuple[Callable[..., Any], str]] = {
    "a plain chain": (lambda: small_network(), "2"),
    "the first layer": (lambda: small_network(), "0"),
    "an in-place ReLU as the layer": (lambda: small_network(), "3"),
    "one arm of a sum": (Arms, "left"),
    "the other arm": (Arms, "right"),
    "below both arms": (Arms, "stem"),
    "arms multiplied": (lambda: Arms(lambda a, b: a * b.sigmoid()), "right"),
    "a dirty arm added to in place": (lambda: Arms(lambda a, b: a.add_(b)), "left"),
    "a layer used twice": (Reused, "conv"),
    "a layer that gives a tuple": (lambda: Does(between=lambda net, x: net.pair(x)[0]), "pair"),
    "attention": (lambda: Does(after=_attend), "conv"),
    "counting and drawing": (lambda: Does(after=_count_and_draw), "conv"),
    "plain attributes, factories, writing in place": (lambda: Does(after=_at_once), "conv"),
    "a decision below the layer": (lambda: Does(between=lambda _, x: x if x.mean() > 9 else -x), "conv"),
    "numbers made of shapes": (lambda: Does(after=_shaped), "conv"),
    "split and stacked": (lambda: Does(after=_split), "conv"),
    "padded and pooled": (lambda: Does(after=lambda _, x: F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 2)), "conv"),
    "enlarged": (lambda: Does(after=lambda _, x: F.interpolate(x, scale_factor=2, mode="bilinear")), "conv"),
    "gradients switched off inside": (lambda: Does(after=lambda _, x: torch.no_grad()(torch.relu)(x)), "conv"),
}  # fmt: skip


def _decides(_net: Any, x: Tensor) -> Tensor:
    return x if x.mean().item() > 0 else x * 2


def _through_numpy(_net: Any, x: Tensor) -> Tensor:
    return torch.from_numpy(x.numpy() * 2)


@torch.jit.script
def _scripted(x: Tensor) -> Tensor:
    return x * 2


WHOLE = {
    "a decision on the variant": (lambda: Does(after=_decides), "conv", "cannot run for many at once"),
    "through NumPy": (lambda: Does(after=_through_numpy), "conv", "scripted or hidden"),
    "through NumPy below": (lambda: Does(between=_through_numpy), "conv", "scripted or hidden"),
    "a scripted function": (lambda: Does(after=lambda _, x: _scripted(x)), "conv", "scripted or hidden"),
    "written into what came from below": (lambda: Arms(lambda a, b: a.add_(b)), "right", "written over"),
    "what came from below written over later": (lambda: Arms(_overwritten), "right", "written over"),
}  # fmt: skip


def _suffix_replay(net: nn.Module, layer: str) -> SuffixReplay:
    model = cs.Model(net)
    with model.preserve_state():
        return SuffixReplay(model, tensor(1, 3, 16, 16, seed=1), resolve_target(2, model, 1), 0, layer)


def _scores_one_by_one(net: nn.Module, layer: str, variants: Tensor) -> Tensor:
    """Class 2's score for each variant, by full forwards one at a time, the slow obvious way."""
    scores = []
    for variant in variants:
        last = _calls(net, layer)

        def replace(_m: nn.Module, _i: Any, output: Any, left: list[int] = last, v: Tensor = variant) -> Any:
            left[0] -= 1
            new = v[None].clone()
            return None if left[0] else (new, *output[1:]) if isinstance(output, tuple) else new

        handle = net.get_submodule(layer).register_forward_hook(replace)
        scores.append(net(tensor(1, 3, 16, 16, seed=1))[0, 2])
        handle.remove()
    return torch.stack(scores)


def _calls(net: nn.Module, layer: str) -> list[int]:
    calls: list[int] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda *_: calls.append(1))
    net(tensor(1, 3, 16, 16, seed=1))
    handle.remove()
    return [len(calls)]


def _variants(replay: SuffixReplay, number: int = 5) -> Tensor:
    variants = replay.map.expand(number, *replay.map.shape[1:])
    return variants * tensor(*variants.shape, seed=2)


@pytest.mark.parametrize("case", AT_ONCE)
def test_variants_score_as_full_forwards_do(case: str) -> None:
    build, layer = AT_ONCE[case]
    net = seeded(build).requires_grad_(False)
    replay = _suffix_replay(net, layer)
    assert replay.why_full is None
    variants = _variants(replay)
    with torch.no_grad():
        expected = _expected_scores(net, layer, variants, case)
    scores = replay.scores(variants.clone())
    assert float(expected.std()) > 1e-4
    assert float((scores - expected).abs().max()) < 1e-6 * max(1.0, float(expected.abs().max()))


def _expected_scores(net: nn.Module, layer: str, variants: Tensor, case: str) -> Tensor:
    if case != "counting and drawing":
        return _scores_one_by_one(net, layer, variants)
    net.calls.fill_(0)  # a run to count the layer's calls comes first
    scores = []
    for variant in variants:
        scores.append(_scores_one_by_one(net, layer, variant[None]))
        net.calls.fill_(0)
    return torch.cat(scores) + 0


@pytest.mark.parametrize("case", WHOLE)
def test_what_cannot_run_for_many_at_once_takes_full_forwards_and_says_why(case: str) -> None:
    build, layer, why = WHOLE[case]
    net = seeded(build).requires_grad_(False)
    replay = _suffix_replay(net, layer)
    assert why in str(replay.why_full)
    variants = _variants(replay)
    with torch.no_grad():
        if case == "a decision on the variant":  # a batch decides together; one at a time is what is meant
            scores = torch.cat([replay.scores(v[None].clone()) for v in variants])
        else:
            scores = replay.scores(variants.clone())
        assert float((scores - _scores_one_by_one(net, layer, variants)).abs().max()) < 1e-6


class Counted(TorchFunctionMode):
    """How many convolutions run, over how many inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.conv2d:
            self.ran.append(args[1].shape[0])
        return func(*args, **(kwargs or {}))


def test_nothing_below_the_layer_runs_again() -> None:
    replay = _suffix_replay(seeded(lambda: small_network()), "1")
    with Counted() as counted:
        replay.scores(_variants(replay))
    assert counted.ran == [6], "the second convolution, once for all variants; the first, of five kernels, not at all"


def test_only_what_meets_the_layer_above_is_kept_of_what_lies_below() -> None:
    replay = _suffix_replay(seeded(Arms), "left")
    held = [c.result for c in replay.calls if not c.depends and isinstance(c.result, Tensor)]
    real = {t.data_ptr() for t in held if t.numel() > 1 and t.stride() != (0,) * t.ndim}
    assert len(real) == 1, "the other arm"
    assert any(t.shape == (1, 4, 14, 14) and t.stride() == (0, 0, 0, 0) for t in held)


def test_a_run_that_takes_another_way_than_before_is_noticed() -> None:
    """Such as a network that looks at something outside of it."""
    steps = iter(range(100))
    replay = _suffix_replay(seeded(lambda: Does(after=lambda _, x: x * 2 if next(steps) % 2 else x.exp())), "conv")
    assert "another way" in str(replay.why_full)


def test_a_network_that_gives_another_answer_when_run_again_is_noticed() -> None:
    strength = iter([1.0, *[float(i) for i in range(2, 100)]])
    replay = _suffix_replay(seeded(lambda: Does(after=lambda _, x: x * next(strength))), "conv")
    assert "does not give the same answer" in str(replay.why_full)


def test_the_note_on_an_explanation_says_that_the_whole_network_ran() -> None:
    net, x = seeded(lambda: Does(after=_decides)), tensor(2, 3, 16, 16)
    for attribution in cs.ablation_cam(net, x, layer="conv"):
        assert "cannot run for many at once" in attribution.notes["recomputed"]
    for attribution in cs.ablation_cam(seeded(Does), x, layer="conv"):
        assert "recomputed" not in attribution.notes


def test_below_a_scripted_part_whole_forwards_give_the_same_map() -> None:
    torch.manual_seed(0)
    parts = nn.Conv2d(3, 4, 3), nn.ReLU(), small_network(channels=4)
    plain = cs.ablation_cam(nn.Sequential(*parts).eval(), tensor(), layer="1", target=1)
    scripted = nn.Sequential(*parts[:2], torch.jit.script(parts[2])).eval()
    attribution = cs.ablation_cam(scripted, tensor(), layer="1", target=1)
    assert "scripted" in attribution.notes["recomputed"]
    assert torch.allclose(attribution.values, plain.values, atol=1e-6)


def test_a_branch_not_taken_is_refused() -> None:
    with pytest.raises(LayerError, match="'pair' was never reached"):
        _suffix_replay(seeded(Does), "pair")
