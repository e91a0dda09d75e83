"""Error messages of the command line name options instead of Python parameters."""

import re
from pathlib import Path

import pytest
import torch

from convscope.cli.error_wording import to_shell_syntax

SHAPES = ("--model", "bundled:shapes")
PYTHON = re.compile(r"\b[a-z_]+=|\bcs\.|\bmodel\.|True|False|None")


@pytest.mark.parametrize(
    ("python", "shell"),
    [
        ("samples must be 1 to 9, got 0", "--samples must be 1 to 9, got 0"),
        ("on_missing='gradient' lets it through", "--on-missing gradient lets it through"),
        ("trust=True opens it", "--trust opens it"),
        ("say it with input=cs.ImageInput(size=…)", "say it with --size"),
        ("with input=cs.ImageInput(size=…, mean=…, std=…), or", "with --size, --mean and --std, or"),
        ("name one with layer=…", "name one with --layer …"),
        ("use baseline='black'", "use --baseline black"),
        ("as in Model(…, layouts={'enc': 'N T C'})", "as in --model 'ADDRESS?layout=enc:N,T,C'"),
        (
            "or pass a prepared tensor (N, C, H, W)",
            "or describe a signal, a volume or another input in the address of the model (docs/inputs.md)",
        ),
        ("pass a dict, {'photo': …, 'table': …}", "name each, as in photo=FILE table=FILE"),
        ("take 'timm:x?weights=none'", "take 'timm:x?weights=none'"),
        ("net raised KeyError: x=3 is none", "net raised KeyError: x=3 is none"),
        ("layer names must be read", "layer names must be read"),
    ],
)
def test_python_syntax_is_translated_to_shell_syntax(python: str, shell: str) -> None:
    assert to_shell_syntax(python, {"samples"}) == shell


NET = """
import torch
from torch import nn

def bare():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

def taskless():
    import convscope as cs
    return cs.Model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2)), input=cs.ImageInput(size=32))

def flat():
    import convscope as cs
    return cs.Model(nn.Sequential(nn.Flatten(), nn.Linear(3072, 4)), input=cs.ImageInput(size=32))

class Unknown(nn.Module):
    def forward(self, x):
        return torch.special.i0(x).flatten(1)[:, :4]

def unruly():
    import convscope as cs
    return cs.Model(Unknown(), input=cs.ImageInput(size=32))
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["grad-cam", "sample:shapes/1", "--model", "net.py:bare"], "--size, --mean and --std"),
        (["structure", "--model", "net.py:bare"], "--size"),
        (["saliency", "sample:shapes/1", "--model", "net.py:taskless"], "--target 'LAYER[3]'"),
        (["lrp", "sample:shapes/1", "--model", "net.py:unruly"], "--on-missing gradient"),
        (["grad-cam", "sample:shapes/1", *SHAPES, "--layer", "layer9"], "'convscope layers'"),
        (["occlusion", "sample:shapes/1", *SHAPES, "--patch", "500"], "--patch must be at most"),
        (["saliency", "sample:shapes/1", *SHAPES, "--smooth", "1"], "--smooth"),
        (["saliency", "sample:shapes/1", "--model", "net.py:bare", "--mean", "0.5"], "--size 224"),
        (["saliency", "sample:shapes/1", "--model", "net.py:bare", "--size", "big"], "--size big is not of the form"),
        (["saliency", "sample:shapes/1", *SHAPES, "--mean", "123,116,103"], "--mean must be of pixels scaled to 0 … 1"),
        (["saliency", "sample:shapes/1", *SHAPES, "--std", "0.5,0.5"], "--std has 2 numbers for 3 channels"),
        (["saliency", "sample:shapes/1", *SHAPES, "--weights", "own.pt"], "comes with its weights"),
        (["saliency", "sample:shapes/1", "--model", "net.py:bare", "--weights", "code.pt"], "--trust opens it anyway"),
        (["activation-maximization", *SHAPES, "--unit", "star", "--steps", "2", "-o", "a.gif"], "--frames"),
    ],
)
def test_error_messages_name_options(refused, words: list[str], expected: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    torch.save({"w": torch.zeros(1)}, tmp_path / "own.pt")
    torch.save(PYTHON, tmp_path / "code.pt")
    message = refused(*words)
    assert expected in message
    assert not PYTHON.search(message.replace("cs.Region(label, mask) in Python", "").partition("?weights=")[0]), message
