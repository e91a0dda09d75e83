"""A network of transformers is written with its configuration, and comes back with its class and its scores."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.loaders.saving import save_network
from convscope.loaders.transformers.configuration import is_rebuilt_from_configuration
from tests.loaders.transformers import networks
from tests.loaders.transformers.networks import Build, photograph

FolderOf = Callable[[Build], Path]


@pytest.mark.parametrize(
    "build", [networks.resnet, networks.segformer, networks.detr, networks.clip, networks.dpt], ids=lambda b: b.__name__
)
def test_a_written_network_is_the_same(build: Build, folder_of: FolderOf, tmp_path: Path) -> None:
    original = cs.load(f"hf:{folder_of(build)}")
    files, difference = save_network(original, tmp_path / "net.safetensors")
    names = [str(file.relative_to(tmp_path)) for file in files]
    assert names[:3] == ["net.safetensors", "net.py", "net.config/config.json"]
    assert all(file.is_file() for file in files)
    assert difference is not None
    assert difference < 1e-6
    reopened = cs.load(f"{tmp_path}/net.py:make")
    assert type(reopened.module) is type(original.module)
    assert reopened.layers() == original.layers()
    for name in ("name", "labels", "task_name"):
        assert getattr(reopened, name) == getattr(original, name)
    assert reopened.caveats == original.caveats == ()
    prepared = [model.prepare(photograph()).tensor for model in (original, reopened)]
    assert torch.equal(*prepared)
    torch.testing.assert_close(original.run(prepared[0]), reopened.run(prepared[1]))


def test_a_network_for_sounds_is_the_same(folder_of: FolderOf, tmp_path: Path) -> None:
    original = cs.load(f"hf:{folder_of(networks.spectrogram_transformer)}")
    save_network(original, tmp_path / "net.safetensors")
    reopened = cs.load(f"{tmp_path}/net.py:make")
    sound = torch.randn(2, 1, 64, 16)
    assert torch.equal(original.run(sound), reopened.run(sound))
    assert reopened.input == original.input


def test_what_was_set_in_the_address_is_kept(folder_of: FolderOf, tmp_path: Path) -> None:
    detector = cs.load(f"hf:{folder_of(networks.detr)}?size=64&mean=0.5,0.4,0.3", labels=["a", "b", "c"])
    save_network(detector, tmp_path / "detector.safetensors")
    reopened = cs.load(f"{tmp_path}/detector.py:make")
    assert reopened.labels == ("a", "b", "c")
    assert torch.equal(reopened.prepare(photograph()).tensor, detector.prepare(photograph()).tensor)
    numbers = cs.load(f"hf:{folder_of(networks.resnet)}?task=regression&units=mm&output=logits")
    save_network(numbers, tmp_path / "numbers.safetensors")
    reopened = cs.load(f"{tmp_path}/numbers.py:make")
    assert (reopened.task_name, reopened.units, reopened.output) == ("regression", ("mm",), "logits")


def test_a_changed_network_is_not_rebuilt_from_its_configuration(folder_of: FolderOf) -> None:
    module = cs.load(f"hf:{folder_of(networks.resnet)}").module
    assert is_rebuilt_from_configuration(module)
    module.classifier.append(nn.Linear(3, 3))
    assert not is_rebuilt_from_configuration(module)
    assert not is_rebuilt_from_configuration(nn.Linear(1, 1))


def test_the_image_part_of_clip_opens_alone(folder_of: FolderOf, tmp_path: Path) -> None:
    whole = cs.load(f"hf:{folder_of(networks.clip)}")
    whole.module.save_pretrained(tmp_path / "part")
    part = cs.load(f"hf:{tmp_path / 'part'}")
    images = torch.randn(2, 3, 32, 32)
    assert part.task is not None
    assert part.task.name == "embedding"
    torch.testing.assert_close(part.run(images), whole.run(images))
    assert part.input.size == whole.input.size  # type: ignore[union-attr]
    assert part.assumed_from == "clip_vision_model"
    assert part.input.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))  # type: ignore[union-attr]
    assert cs.saliency(part, photograph()).values.abs().max() > 0
