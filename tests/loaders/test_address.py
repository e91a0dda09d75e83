"""Addresses of models: invalid ones and unavailable devices are refused in one sentence."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import convscope as cs
from convscope.errors import ConvScopeError, InputError, LoadError, UnknownName
from tests.nets import PlainNet, seeded

SMALL = "torchvision:shufflenet_v2_x0_5"


@pytest.mark.parametrize(
    ("address", "kind", "sentence"),
    [
        (
            "resnet18",
            UnknownName,
            r"^'resnet18' is not the address of a model: write it as torchvision:resnet50 or net\.py:make, or name a "
            "model file$",
        ),
        ("", UnknownName, r"^'' is not the address of a model"),
        ("torchvision:", UnknownName, r"^'torchvision:' is not the address of a model"),
        (":resnet18", UnknownName, r"':resnet18'"),
        (
            "torchvison:resnet18",
            UnknownName,
            r"no kind of model 'torchvison'; did you mean 'torchvision'\? \(try .*torchvision:resnet50",
        ),
        ("http://x.org/net.pt", UnknownName, r"no kind of model 'http' \(try "),
        (
            "torchvision:resnet81",
            UnknownName,
            r"^torchvision has no network 'resnet81'; did you mean 'resnet\d+'\?",
        ),
        (
            "torchvision:zeppelin",
            UnknownName,
            r"^torchvision has no network 'zeppelin' \('convscope models' lists",
        ),
        ("torchvision:raft_large", UnknownName, r"^torchvision has no network 'raft_large'"),
        (
            "torchvision:resnet18?weights=IMAGENET1K_V2",
            UnknownName,
            r"^resnet18 has no weights 'IMAGENET1K_V2'; did you mean 'IMAGENET1K_V1'\? \(it has .* and none\)",
        ),
        ("torchvision:resnet18?weights", LoadError, r"^\?weights has no value: write it as \?weights=VALUE"),
        ("bundled:digits?output=", LoadError, r"^\?output has no value"),
        ("bundled:digits?size=8&size=9", LoadError, r"^\?size= stands twice in the address, as 8 and 9: choose one"),
        ("bundled:digits?layout=conv9:N,C", LoadError, r"names no layer of the network: 'conv9'"),
        ("torchvision:resnet18?wights=none", LoadError, r"has the option 'wights'; did you mean 'weights'"),
        ("timm:convnext_atoo", UnknownName, r"^timm has no network 'convnext_atoo'; did you mean 'convnext_atto'\?"),
        (
            "timm:resnet18?weights=a1_in1k",
            UnknownName,
            r"^timm names weights in the architecture: timm:resnet18\.a1_in1k$",
        ),
        ("timm:resnet18.no_such_tag?weights=none", ConvScopeError, r"no_such_tag"),
        (
            "bundled:digit",
            UnknownName,
            r"^no bundled network 'digit'; did you mean 'digits'\? \(there are digits, shapes, shapes-shortcut, ",
        ),
        (
            "bundled:digits?spacing=1,1",
            LoadError,
            r"^\?spacing=1,1 is for signals and volumes, but digits takes images$",
        ),
        ("bundled:sequence?rate=-5", LoadError, r"^\?rate=-5 is for signals and volumes, but sequence takes tokens$"),
        ("bundled:sequence?size=16", LoadError, r"^size=16 is for images, but sequence takes tokens$"),
        ("bundled:beats?size=16", LoadError, r"^size=16 is for images, but beats takes signals$"),
        ("bundled:beats?std=2", LoadError, r"^std=2 is for images, but beats takes signals; \?input=…&std=… is for"),
        (
            "bundled:beats?spacing=1",
            LoadError,
            r"^\?spacing=1 is for volumes, but beats takes signals, which have a \?r",
        ),
        ("bundled:beats?rate=nan", LoadError, r"^\?rate=nan: rate is one finite number"),
        ("bundled:nodules?rate=360", LoadError, r"^\?rate=360: rate is how many samples a second a signal"),
        ("bundled:nodules?spacing=1,0,1", LoadError, r"^\?spacing=1,0,1: spacing is made of numbers above 0, 3 for"),
        ("bundled:shapes?input=volume&size=9", LoadError, r"^size=9 is for images, but shapes takes prepared tensors$"),
        ("bundled:digits?weights=best", LoadError, r"^bundled:digits comes with its weights"),
        ("net.py", LoadError, r"^'net\.py' needs the function that makes the network: net\.py:NAME$"),
        ("none.py:make", LoadError, r"^no such file: 'none\.py'$"),
    ],
)
def test_an_invalid_address_is_refused(
    address: str, kind: type[ConvScopeError], sentence: str, torchvision: Any
) -> None:
    with pytest.raises(kind, match=sentence) as caught:
        cs.load(address)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["cuda:99", "warp", "cpu:x"])
def test_an_unavailable_device_is_refused(device: str) -> None:
    with pytest.raises(ConvScopeError, match="device") as caught:
        cs.load("bundled:digits", device=device)
    assert "\n" not in str(caught.value)


def test_random_weights_need_no_download_and_have_a_caveat(torchvision: ModuleType) -> None:
    for address in (f"{SMALL}?weights=none", "timm:test_convnext?weights=none", "bundled:digits?weights=none"):
        model = cs.load(address)
        assert model.source == address
        assert model.caveats == ("random weights: the network has learned nothing",)
        assert not model.module.training
        assert cs.predict(model, "sample:photo/china", top=2).record.caveats == model.caveats


def test_the_bundled_network_classifies_a_digit() -> None:
    model = cs.load("bundled:digits", device="cpu")
    sample = cs.sample("digits/3")
    assert (model.source, model.caveats) == ("bundled:digits", ())
    assert cs.predict(model, "sample:digits/3").labels[0] == sample.label
    with pytest.raises(LoadError, match="bundled:digits comes with its weights"):
        cs.load("bundled:digits", weights="own.safetensors")


def test_a_loaded_model_is_explained_from_a_path(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (50, 40), "red").save(tmp_path / "red.png")
    model = cs.load(f"{SMALL}?weights=none")
    attribution = cs.grad_cam(model, tmp_path / "red.png", target="tabby")
    assert attribution.values.shape == (224, 224)
    assert attribution.record.input == str(tmp_path / "red.png")
    with pytest.raises(InputError, match="no such file"):
        cs.grad_cam(model, tmp_path / "blue.png")


def test_a_module_can_be_passed_instead_of_a_model() -> None:
    assert cs.grad_cam(seeded(PlainNet), torch.zeros(1, 3, 8, 8)).layers == ("features",)
