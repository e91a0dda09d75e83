"""Formats that are not read: each is refused in a sentence that says how to convert the file."""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from convscope.errors import LoadError, MissingExtra, install_command
from convscope.spec import file_format

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

CONVERSION_TIMEOUT = 1800
"""Seconds after which the conversion of a SavedModel is given up."""


def _is_saved_model(path: Path, head: bytes) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt"))


@file_format(
    name="saved-model",
    title="SavedModels of TensorFlow",
    example="saved_model_folder",
    extensions=("saved_model.pb",),
    recognizes=_is_saved_model,
    options=("shape", "fixed", "signature"),
    extra="tensorflow",
    takes_weights=False,
)
def open_saved_model(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Open a SavedModel: tf2onnx converts it to ONNX in a process of its own, which alone imports TensorFlow.

    Of several signatures ``?signature=NAME`` chooses one; otherwise it is that for serving.
    """
    from convscope.loaders.onnx.opening import open_model

    if not path.is_dir():
        raise LoadError(f"{str(path)!r} is one file of a SavedModel: name its folder {str(path.parent)!r}")
    signature = options.get("signature")
    chosen = ["--signature_def", signature] if signature else []
    command = ["-m", "tf2onnx.convert", "--saved-model", str(path), *chosen, "--output"]
    for package in ("tensorflow", "tf2onnx"):
        if importlib.util.find_spec(package) is None:
            raise LoadError(
                f"{str(path)!r} is a SavedModel of TensorFlow: {MissingExtra(package, 'tensorflow')}; or convert it "
                f"where TensorFlow is installed, with 'python {' '.join(command)} net.onnx', and open net.onnx"
            )
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "net.onnx"
        try:
            done = subprocess.run(
                [sys.executable, *command, str(converted)],
                capture_output=True,
                text=True,
                check=False,
                timeout=CONVERSION_TIMEOUT,
            )
        except subprocess.TimeoutExpired as error:
            raise LoadError(
                f"tf2onnx did not convert {str(path)!r} within {CONVERSION_TIMEOUT // 60} minutes: convert it yourself "
                f"with 'python {' '.join(command)} net.onnx', and open net.onnx"
            ) from error
        if done.returncode or not converted.is_file():
            reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it wrote no file")
            raise LoadError(f"tf2onnx could not convert {str(path)!r}: {reason.strip()}{_remedy(reason)}")
        try:
            model = open_model(converted, {name: text for name, text in options.items() if name != "signature"})
        except LoadError as error:
            raise LoadError(str(error).replace(str(converted), str(path))) from error
    model = _named(model, path, converted)
    if signature:
        model.source += f"{'&' if '?' in model.source else '?'}signature={signature}"
    return model


def _remedy(reason: str) -> str:
    """What to do about an error of TensorFlow, where that is known; empty otherwise."""
    if "add_slot" not in reason:
        return ""
    remedy = install_command("", "tf_keras")
    return (
        f"; the folder also holds the state of an optimizer of Keras 2, for which TensorFlow needs tf_keras: {remedy}"
    )


def _named(model: "Model", path: Path, converted: Path) -> "Model":
    """A model with the name and the address of the folder that it came from."""
    model.name = path.name
    model.source = model.source.replace(str(converted), str(path), 1)
    if model.conversion is not None:
        engine = f"{model.conversion.engine} (after tf2onnx)"
        model.conversion = replace(model.conversion, engine=engine)
    return model


def _refuse(path: Path, noun: str, remedy: str) -> NoReturn:
    raise LoadError(f"{str(path)!r} is {noun}, which ConvScope does not read: {remedy}")


@file_format(
    name="tflite",
    title="TensorFlow Lite (refused; it says how to convert)",
    example="net.tflite",
    extensions=(".tflite",),
    recognizes=lambda path, head: head[4:8] == b"TFL3",
)
def open_tflite(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Refuse a TensorFlow Lite file."""
    command = f"python -m tf2onnx.convert --tflite {path} --output net.onnx"
    _refuse(path, "a TensorFlow Lite network", f"convert it with '{command}' where TensorFlow is installed")


@file_format(
    name="caffe",
    title="Caffe (refused; it says how to convert)",
    example="net.prototxt",
    extensions=(".caffemodel", ".prototxt"),
    recognizes=lambda path, head: bool(head) and path.suffix.lower() in (".caffemodel", ".prototxt"),
)
def open_caffe(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Refuse the files of a Caffe network."""
    _refuse(
        path,
        "one of the two files of a Caffe network",
        "convert the .prototxt and .caffemodel to ONNX, as with the package caffe2onnx, and open the ONNX file",
    )


def _holds_openvino(path: Path) -> bool:
    """Whether a folder holds the two files of an OpenVINO network."""
    return path.is_dir() and any(file.with_suffix(".bin").is_file() for file in path.glob("*.xml"))


@file_format(
    name="openvino",
    title="OpenVINO IR (refused; it says how to convert)",
    example="net.xml",
    extensions=(".xml",),
    recognizes=lambda path, head: (b"<net " in head and b"<layers" in head) or _holds_openvino(path),
)
def open_openvino(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Refuse an OpenVINO network."""
    _refuse(
        path,
        "an OpenVINO network",
        "open the ONNX file or the PyTorch module that it was made of, or explain it as a function of arrays, "
        "cs.Model(lambda x: compiled(x)[0], input=…)",
    )
