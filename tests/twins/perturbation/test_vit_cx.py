"""ViT-CX computed a second time, step by step in float64, and compared with the lens."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from tests.nets import AttendingNet, seeded
from tests.twins.attention import by_hand
from tests.twins.binding import twin_of
from tests.twins.channel_masks import enlarged
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error

LAYER = "blocks.1"
TARGET = 1


def scaled(m: Tensor) -> Tensor:
    return (m - m.min()) / (m.max() - m.min())


def complete_linkage(maps: list[Tensor], distance: float) -> list[list[int]]:
    """Join the two clusters whose furthest members are nearest, until none are within the distance."""
    clusters = [[k] for k in range(len(maps))]
    pairs = [(i, j) for i in range(len(maps)) for j in range(i)]
    far = {(i, j): 1 - F.cosine_similarity(maps[i].flatten(), maps[j].flatten(), 0) for i, j in pairs}
    while len(clusters) > 1:
        nearest, first, second = min(
            (max(far[max(i, j), min(i, j)] for i in a for j in b), n, m)
            for (n, a), (m, b) in itertools.combinations(enumerate(clusters), 2)
        )
        if nearest > distance:
            break
        clusters[first] += clusters.pop(second)
    return clusters


def masks_of(slow: Slow, distance: float) -> list[Tensor]:
    """The masks of the patch tokens of one image."""
    tokens, _ = slow.at(LAYER)
    channels = [scaled(channel.unflatten(0, (8, 8))) for channel in tokens[1:].detach().T]
    maps = [enlarged(channel, (64, 64)) for channel in channels]
    return [scaled(sum(maps[k] for k in cluster)) for cluster in complete_linkage(maps, distance)]  # type: ignore[arg-type]


@twin_of(cs.vit_cx)
def vit_cx(slow: Slow, masks: list[Tensor], noises: list[Tensor], *, centred: bool = True) -> Tensor:
    kept = []
    for m, e in zip(masks, noises, strict=True):
        hidden = slow.score(slow.x * m + e * (1 - m))
        kept.append(hidden - slow.score(slow.x + e * (1 - m)) + slow.score(slow.x))
    mean = sum(kept) / len(kept) if centred else 0.0
    total = torch.stack([(s - mean) * m for s, m in zip(kept, masks, strict=True)]).sum(0)
    return total / torch.stack(masks).sum(0)


def noise_drawn(slow: Slow, masks: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """The noise of each mask, read off the inputs: the image masked, and the image whole, with the same noise.

    The lens numbers its masks in its own way; each is found by what it shows.
    """
    pairs = [
        (hidden.double(), whole.double() - slow.x) for hidden, whole in zip(inputs[::2], inputs[1::2], strict=True)
    ]
    noises, free = [], set(range(len(pairs)))
    for m in masks:
        errors = {n: float((pairs[n][0] - pairs[n][1] - slow.x * m).abs().max()) for n in free}
        number = min(errors, key=lambda n: errors[n])
        assert errors[number] < 1e-4, "no image was masked by this mask"
        free.remove(number)
        noises.append(pairs[number][1] / (1 - m).clamp_min(1e-3))
    return noises


@pytest.mark.slow
@pytest.mark.parametrize(("distance", "centred"), [(0.1, True), (0.03, False)])
def test_vit_cx_is_its_formula_on_the_noise_it_drew(distance: float, centred: bool) -> None:
    model = by_hand.model()
    images = model.prepare(by_hand.names()).tensor
    options = {"target": TARGET, "layer": LAYER, "distance": distance, "centred": centred}
    with inputs_seen(model.module, with_gradient=False) as network_inputs:
        values: Any = cs.vit_cx(model, images, sigma=0.5, **options)  # type: ignore[call-overload]
    remaining = network_inputs[-2 * sum(value.notes["masks"] for value in values) :]
    for x, value in zip(images, values, strict=True):
        slow = Slow(model.module, x, TARGET)
        masks = masks_of(slow, distance)
        assert value.notes["masks"] == len(masks)
        inputs, remaining = remaining[: 2 * len(masks)], remaining[2 * len(masks) :]
        noises = noise_drawn(slow, masks, inputs)
        hidden = torch.stack(masks)[:, None] < 0.9
        assert float(torch.stack(noises)[hidden.expand(-1, len(x), -1, -1)].std()) == pytest.approx(0.5, abs=0.02)
        assert relative_error(value.values, vit_cx(slow, masks, noises, centred=centred)) < 10 * TOLERANCE


def test_centring_subtracts_the_mean_score_from_every_pixel() -> None:
    model, (name, _) = by_hand.model(), by_hand.names()
    centred, plain = (cs.vit_cx(model, name, target=0, centred=centred) for centred in (True, False))
    torch.testing.assert_close(plain.values - centred.values, torch.full((64, 64), plain.notes["mean score"]))


def test_channels_of_several_layers_are_clustered_together() -> None:
    """What one layer returns and the next receives are the same channels, so that both have the masks of one."""
    model, (name, _) = by_hand.model(), by_hand.names()
    alone: Any = cs.vit_cx(model, name, layer="blocks.0")
    both: Any = cs.vit_cx(model, name, layer=["blocks.0", "blocks.1:input"])
    assert both.notes["masks"] == alone.notes["masks"]
    assert relative_error(both.values, alone.values) < TOLERANCE


def test_channels_that_are_all_alike_or_constant_give_a_blank_map_that_says_why() -> None:
    model, (name, _) = by_hand.model(), by_hand.names()
    joined = cs.vit_cx(model, name, distance=1.0)
    assert joined.blank
    assert "a single mask: choose a smaller distance" in joined.notes["blank"]

    net = seeded(AttendingNet)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    constant: Any = cs.vit_cx(cs.Model(net), torch.rand(1, 3, 16, 16))
    assert constant.notes["blank"].startswith("every channel of this layer is constant")


def test_the_channels_of_a_convolution_give_masks_too() -> None:
    """Two channels that mark opposite halves: the score is a multiple of what the left half shows."""

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(1, 2, 1, bias=False)
            nn.init.constant_(self.features.weight[0], 1.0)
            nn.init.constant_(self.features.weight[1], -1.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.features(x).mean((2, 3))

    image = torch.zeros(1, 1, 8, 8)
    image[..., :4] = 1.0
    value: Any = cs.vit_cx(cs.Model(Halves()), image, target=0, layer="features", sigma=0.0)
    assert value.notes["masks"] == 2
    assert value.values[:, :3].mean() > 0 > value.values[:, 5:].mean()
