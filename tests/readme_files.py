"""The files that lines of the README name, made for the tests that run these lines."""

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests import roads


def prepare(line: str, folder: Path) -> None:
    """Make the files that a line names, where this takes only installed packages; otherwise the test is skipped."""
    for name, (package, make) in FILES.items():
        if name in line:
            if package and importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # exporters and Keras warn of their own internals
                make(folder / name)


def _photograph(path: Path) -> None:
    Image.fromarray(roads.photograph()).save(path)


def _keras(path: Path) -> None:
    roads.save_keras(roads.make(), path)


def _onnx(path: Path) -> None:
    from tests.loaders.onnx.onnx_files import export

    export(roads.make(), torch.randn(1, 3, roads.SIDE, roads.SIDE), path)


def _exported(path: Path) -> None:
    torch.export.save(torch.export.export(roads.make(), (torch.randn(1, 3, roads.SIDE, roads.SIDE),)), path)


def _hugging_face(path: Path) -> None:
    from tests.loaders.transformers import networks

    networks.save(networks.resnet, path)


FILES: Mapping[str, tuple[str, Callable[[Path], None]]] = {
    "photo.jpg": ("", _photograph),
    "net.keras": ("keras", _keras),
    "net.onnx": ("onnx", _onnx),
    "net.pt2": ("", _exported),
    "folder": ("transformers", _hugging_face),
}
"""By the name in the README: the package that it takes, and how it is made."""
