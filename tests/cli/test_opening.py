"""How networks are opened: own weights, their labels and the preparation of their images, extras that are missing."""

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


def test_a_label_that_holds_the_word_is_meant_and_not_one_of_like_letters() -> None:
    assert did_you_mean("cat", IMAGENET) == "; did you mean 'tiger cat'?"
    assert did_you_mean("cat", IMAGENET, most=3) == "; did you mean 'tiger cat' or 'Persian cat'?"
    assert did_you_mean("crat", IMAGENET) == "; did you mean 'crate'?"
    assert did_you_mean("tabi", IMAGENET) == "; did you mean 'tabby'?"


def test_a_target_is_suggested_by_its_words(refused, tmp_path: Path) -> None:
    names = [*IMAGENET, "x", "y", "z"]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    said = refused("saliency", "sample:shapes/1", *SHAPES, "--labels", "names.txt", "--target", "cat")
    assert "no label 'cat' in shapes; did you mean 'tiger cat' or 'Persian cat'?" in said


@pytest.mark.parametrize("form", ["lines", "list", "mapping", "imagenet"])
def test_labels_come_from_a_file(run, tmp_path: Path, form: str) -> None:
    names = [f"class of {number}" for number in range(10)]
    written = {
        "lines": "\n".join(names),
        "list": json.dumps(names),
        "mapping": json.dumps({str(number): name for number, name in enumerate(names)}),
        "imagenet": json.dumps({str(number): [f"n{number:08}", name] for number, name in enumerate(names)}),
    }
    file = "names.txt" if form == "lines" else "names.json"
    (tmp_path / file).write_text(written[form])
    done = run("predict", "sample:shapes/7", *SHAPES, "--labels", file, "--json")
    assert json.loads(done.stdout)["labels"][0] == "class of 7"
    assert cs.load(f"bundled:shapes?labels={tmp_path / file}").labels == tuple(names)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("one\ntwo\nthree\n", "--labels names.txt has 3 names for the 10 outputs of shapes: give one name per output"),
        ("", "--labels names.txt is empty: write one name a line"),
        (None, "--labels names.txt cannot be read (No such file or directory)"),
    ],
)
def test_a_label_file_that_does_not_fit_is_refused(refused, tmp_path: Path, written: str | None, sentence: str) -> None:
    if written is not None:
        (tmp_path / "names.txt").write_text(written)
    assert sentence in refused("saliency", "sample:shapes/7", *SHAPES, "--labels", "names.txt", "--out", "maps/")
    assert not (tmp_path / "maps").exists()


def test_labels_in_python_say_their_file_or_their_number() -> None:
    model = cs.load("bundled:shapes", labels=["a", "b"])
    with pytest.raises(OutputError, match="shapes was given 2 labels for 10 outputs"):
        cs.predict(model, "sample:shapes/7")
    with pytest.raises(LoadError, match="choose one"):
        cs.load("bundled:shapes?size=64", size=32)


@pytest.fixture
def own_weights(tmp_path: Path) -> Path:
    """A small network's weights, which say nothing of how it was trained."""
    library = pytest.importorskip("convscope.loaders.torchvision", reason="torchvision is not installed").library()
    net = library.models.get_model("squeezenet1_1", weights=None, num_classes=4)
    torch.save(net.state_dict(), tmp_path / "own.pt")
    pixels = np.random.default_rng(0).integers(0, 255, (300, 260, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    return tmp_path / "own.pt"


def test_a_preparation_that_was_assumed_for_own_weights_is_said_until_it_is_given(run, own_weights: Path) -> None:
    words = ["predict", "cat.png", "--model", "torchvision:squeezenet1_1", "--weights", "own.pt", "--json"]
    done = run(*words)
    (caveat,) = json.loads(done.stdout)["record"]["caveats"]
    assert "as for IMAGENET1K_V1 (shorter side to 256, middle 224×224, mean 0.485" in caveat
    assert caveat in done.stderr
    assert "--size, --resize, --mean and --std" in done.stderr
    given = ["--size", "64x80", "--resize", "90", "--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2"]
    told = run(*words, *given)
    record = json.loads(told.stdout)["record"]
    assert record["caveats"] == []
    assert "note:" not in told.stderr
    assert record["model"]["input"]["size"] == [64, 80]
    assert record["model"]["input"]["resize"] == 90
    (partly,) = json.loads(run(*words, "--size", "64").stdout)["record"]["caveats"]
    assert "shorter side" not in partly
    assert "mean" in partly


def test_the_preparation_is_part_of_the_address_and_of_the_recipe(own_weights: Path) -> None:
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


def test_a_bare_network_takes_images_once_its_size_is_said(run, tmp_path: Path) -> None:
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
        ("torchvision:squeezenet1_9", "no classification network 'squeezenet1_9'; did you mean"),
        ("timm:resnet18.nobody", "timm has no network 'resnet18.nobody'"),
        ("bundled:shapes?wieghts=none", "has the option 'wieghts'; did you mean 'weights'?"),
        ("torchvison:resnet18", "did you mean 'torchvision'?"),
    ],
)
def test_a_preset_that_does_not_exist_is_refused_with_the_nearest(refused, model: str, sentence: str) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    assert sentence in refused("saliency", "sample:shapes/7", "--model", model)


def test_a_missing_extra_names_a_command_that_works_in_a_clone_too(process, tmp_path: Path) -> None:
    """It names packages, not this one's extra: nothing of that name need be on an index."""
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
