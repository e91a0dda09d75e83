"""Maps that do not fit into memory are refused before they are computed, with their size and what to lower."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.context import chunking, free_memory
from convscope.engine.context.free_memory import TooLittleMemory
from convscope.lens.perturbation import _channel_clusters
from convscope.runtime import layer_maps
from tests.nets import PlainNet, seeded
from tests.twins.attention import by_hand


def free(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_memory, "free_bytes", lambda _device: size)


@pytest.mark.parametrize("lens", ["feature_maps", "occlusion", "grad_cam", "saliency"])
def test_a_volume_of_512_voxels_a_side_is_refused_before_it_runs(lens: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = cs.Model(seeded(PlainNet, 3, 1), input=cs.TensorInput(shape=(1, 512, 512, 512)), name="scanner")
    volume = torch.zeros(1).expand(1, 1, 512, 512, 512)  # which takes no memory of its own
    free(4 * 2**30, monkeypatch)
    message = (
        r"scanner for inputs of 1 × 512 × 512 × 512 .* \(at 'features.0' with 6 × 512 × 512 × 512\) needs at least "
    )
    with pytest.raises(TooLittleMemory, match=f"{message}7.0 GiB, and 4.0 GiB are free: use smaller ones"):
        getattr(cs, lens)(model, volume)


def test_the_feature_maps_of_all_layers_and_inputs_are_planned_together(monkeypatch: pytest.MonkeyPatch) -> None:
    model = cs.Model(seeded(PlainNet), input=cs.TensorInput(shape=(3, 64, 64)))
    images: Any = list(torch.rand(3, 3, 64, 64))
    layers = ["features.0", "features.2"]
    needed = 4 * 3 * (6 * 64 * 64 + 8 * 32 * 32)
    free(needed, monkeypatch)
    assert len(cs.feature_maps(model, images, layer=layers, channels=0)) == 3
    free(needed - 1, monkeypatch)
    with pytest.raises(
        TooLittleMemory, match=r"feature maps of 2 layers \(most of them of 'features.0'\) needs .* fewer"
    ):
        cs.feature_maps(model, images, layer=layers, channels=0)
    assert len(cs.feature_maps(model, images, layer=layers, channels=4)) == 3


def test_occlusion_at_more_places_than_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten())
    model, volume = cs.Model(network, input=cs.TensorInput(shape=(1, 40, 40, 40))), torch.rand(1, 1, 40, 40, 40)
    free(4 * 2**20, monkeypatch)
    with pytest.raises(
        TooLittleMemory, match=r"at 59,319 places of 40 × 40 × 40 with a stride of 1 × 1 × 1 .* larger stri"
    ):
        cs.occlusion(model, volume, patch=2, stride=1)
    value: Any = cs.occlusion(model, volume, patch=20, stride=20)
    assert value.values.abs().max() > 0


def test_vit_cx_enlarges_a_few_channels_and_masks_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, layers, together = by_hand.model(), ["blocks.0", "blocks.2:input"], list[int]()
    options: Any = {"image": "sample:pairs/1", "target": 1, "layer": layers}
    whole: Any = cs.vit_cx(model, **options)

    def resize(maps: Tensor, extent: tuple[int, ...]) -> Tensor:
        together.append(len(maps))
        return resized(maps, extent)

    resized = layer_maps.resize
    monkeypatch.setattr(layer_maps, "resize", resize)
    monkeypatch.setattr(_channel_clusters, "ENLARGED_BYTES", 7 * 4 * 64 * 64)
    monkeypatch.setattr(chunking, "MAX_CHUNK", 4)  # inputs in a forward pass, each with its mask
    value: Any = cs.vit_cx(model, **options)
    assert max(together) == 7 < value.notes["masks"] == whole.notes["masks"] < 2 * 48
    torch.testing.assert_close(value.values, whole.values, rtol=1e-4, atol=1e-5)


def test_vit_cx_refuses_more_channels_than_can_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    model, layers = by_hand.model(), ["blocks.0", "blocks.1"]
    free(20 * 96**2 - 1, monkeypatch)
    with pytest.raises(
        TooLittleMemory, match=r"^comparing 96 channels .* at least 0\.0 GiB, .* fewer layers with layer="
    ):
        cs.vit_cx(model, "sample:pairs/1", layer=layers)
    free(20 * 96**2, monkeypatch)
    assert cs.vit_cx(model, "sample:pairs/1", layer=layers)
