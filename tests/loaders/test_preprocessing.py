"""Preprocessing of networks from libraries is that of the library."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convscope as cs


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "lanczos"])
@pytest.mark.parametrize(("crop", "resize"), [(24, 24), (24, 32), (25, 28), (23, 31)])
@pytest.mark.parametrize("shape", [(40, 60), (61, 43), (33, 33), (20, 50), (24, 24)])
def test_images_are_prepared_as_by_torchvision(
    interpolation: Any, crop: int, resize: int, shape: tuple[int, int], torchvision: ModuleType
) -> None:
    theirs = torchvision.transforms
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    steps = [theirs.Resize(resize, theirs.InterpolationMode(interpolation)), theirs.CenterCrop(crop)]
    steps += [theirs.ToTensor(), theirs.Normalize(mean, std)]
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))
    ours = cs.ImageInput(size=crop, resize=resize, mean=mean, std=std, interpolation=interpolation).prepare(picture)
    torch.testing.assert_close(ours, theirs.Compose(steps)(picture), atol=1e-6, rtol=0)


def test_all_networks_of_torchvision_get_their_own_preprocessing(torchvision: ModuleType) -> None:
    from convscope.loaders.torchvision import _input

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 421, 3), dtype=np.uint8))
    presets = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        for weights in torchvision.models.get_model_weights(name):
            presets[repr(weights.transforms())] = weights
    assert len(presets) > 20
    for weights in presets.values():
        theirs = weights.transforms()(picture)
        torch.testing.assert_close(_input(weights).prepare(picture), theirs, atol=1e-6, rtol=0, msg=str(weights))


def test_networks_of_timm_get_their_own_preprocessing() -> None:
    from convscope.loaders.timm import _input, library

    timm = library()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (150, 211, 3), dtype=np.uint8))
    configs: dict[str, Any] = {}
    for name in timm.list_pretrained():
        config = timm.get_pretrained_cfg(name)
        if config.input_size[0] == 3 and max(config.input_size) <= 240:
            key = (
                config.input_size,
                config.crop_pct,
                config.crop_mode,
                config.interpolation,
                config.mean,
                config.std,
            )
            configs.setdefault(str(key), (name, config))
    assert len(configs) > 20
    differences = []
    for name, config in configs.values():
        module = nn.Identity()
        module.pretrained_cfg = module.default_cfg = config.to_dict()
        resolved = timm.data.resolve_model_data_config(module)
        theirs = timm.data.create_transform(**resolved, is_training=False)(picture)
        ours = _input(module).prepare(picture)
        if ours.shape != theirs.shape or (ours - theirs).abs().max() > 1e-5:
            differences.append(
                f"{name} {[resolved[option] for option in ('input_size', 'crop_pct', 'crop_mode', 'interpolation')]}"
            )
    assert not differences, differences
