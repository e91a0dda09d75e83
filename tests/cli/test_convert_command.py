"""``convscope convert``: what was opened can be kept."""

import json
from pathlib import Path

import torch

import convscope as cs
from tests.cli.conftest import Run
from tests.loaders.torch_files.networks import save, saved_net, traced


def test_a_model_is_written_to_a_folder_and_opens_from_there(run: Run) -> None:
    done = run("convert", "bundled:digits", "kept/")
    assert done.returncode == 0, done.stderr
    assert "kept/digits.safetensors, kept/digits.py, kept/digits.pt2 written" in done.stdout
    assert "open it with --model kept/digits.py:make" in done.stdout
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(cs.load("kept/digits.py:make").run(x), cs.load("bundled:digits").run(x))
    predicted = [run("predict", "sample:digits/3", "--model", model, "--json").stdout
                 for model in ("kept/digits.py:make", "bundled:digits")]  # fmt: skip
    classes = [json.loads(text)["notes"] for text in predicted]
    assert classes[0] == classes[1]


def test_files_are_named_and_compared(run: Run) -> None:
    save(traced(saved_net()), "net.pt")
    done = run("convert", "net.pt", "kept.safetensors", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--json")
    manifest = json.loads(done.stdout)
    assert manifest["files"] == ["kept.safetensors", "kept.py", "kept.pt2"]
    assert manifest["difference"] < 1e-6
    assert cs.load("kept.py:make").input.mean == (0.5, 0.5, 0.5)  # type: ignore[union-attr]


def test_mistakes_are_one_sentence(run: Run) -> None:
    save(traced(saved_net()), "net.pt")
    Path("weights.safetensors").write_bytes(b"")
    for words, sentence in {
        ("net.pt", "net.h5"): "a network is written to a folder",
        ("missing.pt2", "kept.onnx"): "no such model file",
        ("net.py:make", "net.pt"): "a network is written to a folder",
        ("torchvision:resnet18?weights=weights.safetensors", "weights.safetensors"): "over its own input",
    }.items():
        done = run("convert", *words)
        assert done.returncode == 2, words
        assert sentence in done.stderr, words
        assert done.stderr.count("\n") <= 2
    assert sorted(path.name for path in Path().iterdir()) == ["net.pt", "weights.safetensors"]


def test_layers_of_a_file_are_listed_with_their_kinds(run: Run) -> None:
    save(traced(saved_net()), "net.pt")
    listed = json.loads(run("layers", "--model", "net.pt", "--json").stdout)
    assert {"layer": "block", "kind": "Block"} in listed
    assert {"layer": "block.conv1", "kind": "Conv2d"} in listed
