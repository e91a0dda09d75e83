"""``net.onnx``: an ONNX file as a network of PyTorch's modules, named as its nodes.

The file is read with the package onnx alone. Each node becomes a module (`operators`), those of convolutional networks
PyTorch's own; `building` runs an example through them, and ONNX Runtime checks the result where it is installed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from convscope.loaders.onnx.recognition import is_onnx
from convscope.spec import file_format

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


@file_format(
    name="onnx",
    title="networks in the ONNX format",
    example="net.onnx",
    extensions=(".onnx",),
    recognizes=is_onnx,
    options=("shape", "fixed"),
    extra="onnx",
    takes_weights=False,
)
def open_onnx(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Open an ONNX file; ``?shape=3x224x224`` is the shape of a sample, ``?fixed=sr:16000`` sets further inputs."""
    from convscope.loaders.onnx.opening import open_model

    return open_model(path, options)
