"""What cannot be opened safely or truly is refused in a sentence, before anything of it runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import convscope as cs
from convscope.errors import LoadError, MissingExtra
from convscope.loaders.transformers import architecture
from tests.loaders.transformers import networks
from tests.loaders.transformers.networks import Build, photograph

FolderOf = Callable[[Build], Path]


@pytest.fixture
def folder(folder_of: FolderOf, tmp_path: Path) -> Path:
    """A copy of the folder of a small vision transformer."""
    return Path(shutil.copytree(folder_of(networks.vit), tmp_path / "vit"))


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def refusal(address: object, **options: Any) -> str:
    with pytest.raises(LoadError) as error:
        cs.load(str(address), **options)
    return str(error.value)


def test_a_repository_that_is_not_cached_needs_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from convscope.loaders import download

    monkeypatch.setattr(download, "is_reachable", lambda url: False)
    message = refusal("hf:nobody/no-such-network")
    assert "not in the local cache and cannot be fetched (there is no network)" in message
    assert "hf:./FOLDER" in message
    assert "neither a folder nor the name" in refusal(f"hf:{tmp_path}/none")
    assert "neither a folder nor the name" in refusal("hf:a/b/c")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    monkeypatch.chdir(tmp_path)
    assert refusal("hf:photo.jpg").startswith("hf:photo.jpg is a file: give the folder that save_pretrained wrote")


def test_a_repository_is_read_from_the_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the cache of huggingface_hub lies on the disk: refs, and a snapshot per commit."""
    from huggingface_hub import constants

    from convscope.loaders import download

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(download, "is_reachable", lambda url: pytest.fail("the network was asked"))
    repository = tmp_path / "models--somebody--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abc")
    shutil.copytree(folder, repository / "snapshots" / "0123abc")
    model = cs.load("hf:somebody/tiny")
    assert model.source == "hf:somebody/tiny"
    assert model.name == "tiny"
    assert cs.load("hf:somebody/tiny?weights=none").caveats


def test_a_folder_without_config_or_with_a_broken_one(tmp_path: Path, folder: Path) -> None:
    assert "holds no config.json" in refusal(f"hf:{tmp_path}")
    (folder / "config.json").write_text("{")
    assert "is not JSON" in refusal(f"hf:{folder}")
    (folder / "config.json").write_text("[" * 100_000)
    assert "is not JSON" in refusal(f"hf:{folder}")
    (folder / "config.json").write_text("[1]")
    assert "holds list, not an object" in refusal(f"hf:{folder}")
    (folder / "config.json").write_text(json.dumps({"model_type": ["vit"]}))
    assert "which transformers" in refusal(f"hf:{folder}")


def test_networks_of_other_kinds(folder: Path) -> None:
    change_config(folder, architectures=["ViTForMaskedImageModeling"])
    assert "is a ViTForMaskedImageModeling, which is not opened here" in refusal(f"hf:{folder}")
    change_config(folder, architectures=3)
    assert "must name its architectures in a list, got 3" in refusal(f"hf:{folder}")
    change_config(folder, architectures=...)
    assert "names no architectures" in refusal(f"hf:{folder}")
    change_config(folder, model_type="vit-of-the-future")
    message = refusal(f"hf:{folder}")
    assert "for a network 'vit-of-the-future', which transformers" in message
    assert message.endswith("does not have: install a newer transformers")


def test_a_network_for_texts(tmp_path: Path) -> None:
    from convscope.loaders.transformers.library import library

    config = library().BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=20
    )
    library().BertModel(config).save_pretrained(tmp_path)
    assert "takes input_ids: only networks for images and sounds" in refusal(f"hf:{tmp_path}")


def test_code_in_a_folder_is_not_run(folder: Path) -> None:
    change_config(folder, model_type="own-vit", auto_map={"AutoConfig": "own.OwnConfig"})
    mark = folder / "ran"
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w')\n")
    assert "is code in that repository; trust=True runs it" in refusal(f"hf:{folder}")
    assert not mark.exists()


def test_code_beside_a_known_network_is_not_run(folder: Path) -> None:
    change_config(folder, auto_map={"AutoConfig": "own.OwnConfig", "AutoModelForImageClassification": "own.OwnViT"})
    mark = folder / "ran"
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w')\n")
    cs.load(f"hf:{folder}")
    assert not mark.exists()


def test_pickled_weights_need_trust(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    expected = cs.load(f"hf:{folder}")
    (folder / "model.safetensors").unlink()
    assert "holds its weights as a pickle (pytorch_model.bin)" in refusal(f"hf:{folder}")
    model = cs.load(f"hf:{folder}", trust=True)
    image = model.prepare(photograph()).tensor
    assert torch.equal(model.module(image).logits, expected.module(image).logits)
    (folder / "pytorch_model.bin").unlink()
    assert "holds no weights (model.safetensors)" in refusal(f"hf:{folder}")
    assert "random weights" in cs.load(f"hf:{folder}?weights=none").caveats[0]


def test_weights_of_another_network_are_named(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    head = state.pop("classifier.weight")
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    assert "they lack classifier.weight" in refusal(f"hf:{folder}")
    save_file(state | {"classifier.weight": head[:, :5].clone()}, folder / "model.safetensors", {"format": "pt"})
    assert "they do not fit: classifier.weight is (3, 5), not (3, 16)" in refusal(f"hf:{folder}")
    state |= {"classifier.weight": head, "extra.weight": torch.zeros(2)}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    assert cs.load(f"hf:{folder}").caveats == ("1 tensors of the weight file are not used, such as extra.weight",)


def test_damaged_weights(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-100])
    assert "is not a complete safetensors file" in refusal(f"hf:{folder}")
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    assert "is not a complete safetensors file" in refusal(f"hf:{folder}")


def test_shards_lie_in_the_folder(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    index.write_text(json.dumps({"weight_map": {"classifier.weight": "../outside.safetensors"}}))
    assert "names '../outside.safetensors', which is no file of its folder" in refusal(f"hf:{folder}")
    index.write_text("{}")
    assert "is not the index of weight files" in refusal(f"hf:{folder}")


def test_sizes_that_the_weights_cannot_fill(folder: Path) -> None:
    change_config(folder, hidden_size=10**9)
    assert "declares hidden_size=1,000,000,000, which its weights" in refusal(f"hf:{folder}")
    assert "declares hidden_size=1,000,000,000, which no network has" in refusal(f"hf:{folder}?weights=none")
    change_config(folder, hidden_size=16, num_hidden_layers=10**6)
    assert "declares num_hidden_layers=1,000,000, which no network has" in refusal(f"hf:{folder}?weights=none")
    assert "declares num_hidden_layers=1,000,000" in refusal(f"hf:{folder}")
    change_config(folder, num_hidden_layers=2, hidden_act="no such function")
    assert "transformers cannot open" in refusal(f"hf:{folder}")


def test_a_network_that_its_weights_do_not_fill_is_refused_before_it_takes_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(architecture.Architecture, "_load", lambda *args, **options: pytest.fail("it was built"))
    change_config(folder, image_size=8_000)
    message = "describes a network of 16,0"
    shape = "and none for vit.embeddings.position_embeddings (1, 1000001, 16)"
    for options in ({}, {"weights": folder / "model.safetensors"}):
        text = refusal(f"hf:{folder}", **options)
        assert message in text, text
        assert shape in text, text
    change_config(folder, depths=[1, 10**6])
    assert "declares depths=1,000,000" in refusal(f"hf:{folder}")


def test_a_weight_file_of_ones_own(folder: Path, tmp_path: Path) -> None:
    state = load_file(folder / "model.safetensors")
    own = state | {"classifier.weight": torch.ones(5, 16), "classifier.bias": torch.zeros(5)}
    save_file(own, tmp_path / "own.safetensors")
    model = cs.load(f"hf:{folder}", weights=tmp_path / "own.safetensors")
    assert model.run(model.prepare(photograph()).tensor).shape == (1, 5)
    assert "has no named weights such as ?weights=IMAGENET" in refusal(f"hf:{folder}?weights=IMAGENET")


def test_preprocessing_that_is_missing_is_assumed_and_said(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    model = cs.load(f"hf:{folder}")
    assert model.input.size == (32, 32)
    assert "images are prepared as for vit" in model.caveats[0]
    assert cs.load(f"hf:{folder}", mean=[0.4] * 3, std=[0.2] * 3, size=32).caveats == ()


def test_preprocessing_that_cannot_be_read(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    plain = json.loads(path.read_text())
    path.write_text("{")
    assert "the preprocessing in" in refusal(f"hf:{folder}")
    path.write_text(json.dumps(plain | {"size": {"height": 10**9, "width": 1}}))
    assert "sets height to 1,000,000,000, more than" in refusal(f"hf:{folder}")
    path.write_text(json.dumps(plain | {"resample": "sharp"}))
    assert "the preprocessing in" in refusal(f"hf:{folder}")


def test_a_center_crop_of_almost_nothing(folder_of: FolderOf, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder_of(networks.resnet), tmp_path / "resnet"))
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"crop_pct": 1e-9}))
    assert "sets crop_pct to 1e-09" in refusal(f"hf:{folder}")


def test_a_chosen_size_replaces_the_processor(folder_of: FolderOf) -> None:
    address = f"hf:{folder_of(networks.detr)}"
    assert cs.load(address).prepare(photograph()).extent == (48, 71)
    assert cs.load(f"{address}?size=64").prepare(photograph()).extent == (64, 64)


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "transformers" else plain(name, *a)
    )
    with pytest.raises(MissingExtra, match="this needs the package 'transformers'"):
        cs.load("hf:microsoft/resnet-50")
