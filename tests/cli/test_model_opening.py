"""Options for opening networks: own weights, labels, preprocessing, missing extras."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.errors import LoadError, OutputError, did_you_mean, install_command
from convscope.reporting.reproduce import recipe

SHAPES = ("--model", "bundled:shapes")
IMAGENET = ("crate", "tiger cat", "Persian cat", "catamaran", "cart", "polecat", "tabby")


def test_labels_that_contain_the_word_are_suggested_before_similar_ones() -> None:
    assert did_you_mean("cat", IMAGENET) == "; did you mean 'tiger cat'?"
    assert did_you_mean("cat", IMAGENET, most=3) == "; did you mean 'tiger cat' or 'Persian cat'?"
    assert did_you_mean("crat", IMAGENET) == "; did you mean 'crate'?"
    assert did_you_mean("tabi", IMAGENET) == "; did you mean 'tabby'?"


def test_targets_that_contain_the_word_are_suggested(refused, tmp_path: Path) -> None:
    names = [*IMAGENET, "x", "y", "z"]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    message = refused("saliency", "sample:shapes/1", *SHAPES, "--labels", "names.txt", "--target", "cat")
    assert "no label 'cat' in shapes; did you mean 'tiger cat' or 'Persian cat'?" in message


@pytest.mark.parametrize("form", ["lines", "list", "mapping", "imagenet"])
def test_labels_are_read_from_a_file(run, tmp_path: Path, form: str) -> None:
    names = [f"class of {number}" for number in range(10)]
    contents = {
        "lines": "\n".join(names),
        "list": json.dumps(names),
        "mapping": json.dumps({str(number): name for number, name in enumerate(names)}),
        "imagenet": json.dumps({str(number): [f"n{number:08}", name] for number, name in enumerate(names)}),
    }
    file = "names.txt" if form == "lines" else "names.json"
    (tmp_path / file).write_text(contents[form])
    done = run("predict", "sample:shapes/7", *SHAPES, "--labels", file, "--json")
    assert json.loads(done.stdout)["labels"][0] == "class of 7"
    assert cs.load(f"bundled:shapes?labels={tmp_path / file}").labels == tuple(names)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("one\ntwo\nthree\n", "--labels names.txt has 3 names for the 10 outputs of shapes: give one name per output"),
        ("", "--labels names.txt is empty: write one name per line"),
        (None, "--labels names.txt cannot be read (No such file or directory)"),
    ],
)
def test_an_invalid_label_file_is_refused(refused, tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "names.txt").write_text(content)
    assert sentence in refused("saliency", "sample:shapes/7", *SHAPES, "--labels", "names.txt", "--out", "maps/")
    assert not (tmp_path / "maps").exists()


def test_errors_about_labels_in_python_give_their_number() -> None:
    model = cs.load("bundled:shapes", labels=["a", "b"])
    with pytest.raises(OutputError, match="shapes was given 2 labels for 10 outputs"):
        cs.predict(model, "sample:shapes/7")
    with pytest.raises(LoadError, match="choose one"):
        cs.load("bundled:shapes?size=64", size=32)


@pytest.fixture
def own_weights(tmp_path: Path) -> Path:
    """The weights of a small network, without information about its preprocessing."""
    library = pytest.importorskip("convscope.loaders.torchvision", reason="torchvision is not installed").library()
    net = library.models.get_model("squeezenet1_1", weights=None, num_classes=4)
    torch.save(net.state_dict(), tmp_path / "own.pt")
    pixels = np.random.default_rng(0).integers(0, 255, (300, 260, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    return tmp_path / "own.pt"


def test_assumed_preprocessing_for_own_weights_is_reported_until_it_is_set(run, own_weights: Path) -> None:
    words = ["predict", "cat.png", "--model", "torchvision:squeezenet1_1", "--weights", "own.pt", "--json"]
    assumed = run(*words)
    (caveat,) = json.loads(assumed.stdout)["record"]["caveats"]
    assert "as for IMAGENET1K_V1 (shorter side to 256, middle 224×224, mean 0.485" in caveat
    assert caveat in assumed.stderr
    assert "--size, --resize, --mean and --std" in assumed.stderr
    preprocessing = ["--size", "64x80", "--resize", "90", "--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2"]
    configured = run(*words, *preprocessing)
    record = json.loads(configured.stdout)["record"]
    assert record["caveats"] == []
    assert "note:" not in configured.stderr
    assert record["model"]["input"]["size"] == [64, 80]
    assert record["model"]["input"]["resize"] == 90
    (remaining,) = json.loads(run(*words, "--size", "64").stdout)["record"]["caveats"]
    assert "shorter side" not in remaining
    assert "mean" in remaining


def test_preprocessing_is_part_of_the_address_and_of_the_recipe(own_weights: Path) -> None:
    address = f"torchvision:squeezenet1_1?weights={own_weights}&size=64&mean=0.5,0.5,0.5"
    model = cs.load(address)
    assert model.input == cs.ImageInput(
        size=64, mean=(0.5, 0.5, 0.5), std=(0.229, 0.224, 0.225), resize=None, interpolation="bilinear"
    )
    value = cs.saliency(model, "sample:photo/china")
    names: dict[str, cs.Model] = {}
    exec(recipe(value.record).opening, names)
    assert names["model"].input == model.input
    named = cs.load("torchvision:squeezenet1_1", weights=own_weights, size=64, mean=[0.5] * 3)
    assert named.input == model.input
    assert cs.load("torchvision:squeezenet1_1?weights=none").caveats == cs.load("bundled:digits?weights=none").caveats


def test_a_bare_network_takes_images_when_their_size_is_set(run, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make():\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))\n"
    )
    words = ["saliency", "sample:digits/3", "--model", "net.py:make", "--size", "16", "--mean", "0.5", "--std", "0.5"]
    done = run(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["record"]["model"]["input"]["size"] == [16, 16]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            "torchvision:squeezenet1_1?weights=IMAGENET1K_V9",
            "has no weights 'IMAGENET1K_V9'; did you mean 'IMAGENET1K_V1'",
        ),
        ("torchvision:squeezenet1_9", "no network 'squeezenet1_9'; did you mean"),
        ("timm:resnet18.nobody", "timm has no network 'resnet18.nobody'"),
        ("bundled:shapes?wieghts=none", "has the option 'wieghts'; did you mean 'weights'?"),
        ("torchvison:resnet18", "did you mean 'torchvision'?"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(refused, model: str, sentence: str) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    assert sentence in refused("saliency", "sample:shapes/7", "--model", model)


def test_a_missing_extra_is_reported_with_an_install_command(process, tmp_path: Path) -> None:
    """The command names packages instead of an extra of this one, which may not be on a package index."""
    (tmp_path / "torchvision.py").write_text("raise ImportError('not here')")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    words = ["saliency", "sample:shapes/1", "--model", "torchvision:resnet18"]
    done = process(*words, env={"PYTHONPATH": paths})
    line = install_command("models")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"convscope: this needs the package 'torchvision': {line}"
    assert line.startswith(f"{sys.executable} -m pip install ")
    assert "'torchvision" in line
    assert "'timm>=" in line
    assert "convscope" not in line.partition(" -m ")[2]
    assert "'nicegui" in install_command("web")
