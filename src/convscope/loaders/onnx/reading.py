"""Reading an ONNX file: which files are one, and what is refused before anything is computed."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from convscope.errors import SAVE_AGAIN, LoadError, MissingExtra
from convscope.loaders.onnx.graph import MAX_DEPTH
from convscope.loaders.onnx.tensors import check_external_data

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 7
_MAX_FILE_SIZE = 2**31
"""Protocol buffers hold at most 2 GiB; larger networks keep their weights in files beside them."""


@dataclass
class StoredModel:
    """A network as its file holds it.

    Attributes:
        proto: the file's content.
        path: the file.
        opset: the version of the standard's operators.
        functions: the file's own functions, by domain and name.
        is_changed: whether the content is no longer that of the file.
    """

    proto: "onnx.ModelProto"
    path: Path
    opset: int
    functions: dict[tuple[str, str], Any]
    is_changed: bool = False

    def release_weights(self) -> None:
        """Free the memory of the content, except for its outputs and metadata; ``read_model`` reads it again."""
        if self.is_changed:
            return
        rest = type(self.proto)()
        rest.graph.output.extend(self.proto.graph.output)
        rest.metadata_props.extend(self.proto.metadata_props)
        self.proto, self.functions = rest, {}

    @functools.cached_property
    def size(self) -> int:
        """The bytes of the file and of the weights beside it."""
        tensors = [tensor for graph in (self.proto.graph, *self.proto.functions) for tensor in _stored_tensors(graph)]
        beside = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
        total: int = self.path.stat().st_size + sum((self.folder / name).stat().st_size for name in beside)
        return total

    @property
    def folder(self) -> Path:
        """The folder that may hold weights of the network."""
        return self.path.parent


@functools.cache
def onnx_package() -> ModuleType:
    """The package onnx."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("onnx", "onnx") from error
    return onnx  # type: ignore[no-any-return]


def read_model(path: Path) -> StoredModel:
    """The network in a file.

    Raises:
        LoadError: the file is empty, not complete or no network, or of a version that is not read.
        MissingExtra: the package onnx is not installed.
    """
    package = onnx_package()
    size = path.stat().st_size
    if not 0 < size < _MAX_FILE_SIZE:
        raise LoadError(f"{str(path)!r} has {size:,} bytes: an ONNX file has at least one and less than 2 GiB")
    try:
        proto = package.ModelProto.FromString(path.read_bytes())
    except Exception as error:  # of the parser, whose class depends on its implementation
        raise LoadError(f"{str(path)!r} is not a complete ONNX file: {_first_line(error)}; {SAVE_AGAIN}") from error
    if not proto.graph.node and not proto.graph.output:
        raise LoadError(f"{str(path)!r} holds no network: its graph has no node")
    for part in (proto.graph, *proto.functions):
        _check_texts(part, path)
    for graph in (proto.graph, *proto.functions):
        for tensor in _stored_tensors(graph):
            check_external_data(tensor, path.parent)
    if proto.ir_version > package.IR_VERSION:
        raise LoadError(
            f"{str(path)!r} is of IR version {proto.ir_version}, and onnx {package.__version__} knows versions up to "
            f"{package.IR_VERSION}: install a newer onnx"
        )
    functions = {(function.domain, function.name): function for function in proto.functions}
    return StoredModel(proto, path, _opset(package, proto, path), functions)


def _check_texts(graph: Any, path: Path, depth: int = 0) -> None:
    """Refuse names that are no text, which the parser gives as bytes."""
    values = [info.name for field in ("input", "output", "initializer") for info in getattr(graph, field, ())
              if not isinstance(info, str)]  # fmt: skip
    for node in graph.node:
        values += [node.op_type, node.name, node.domain, *node.input, *node.output]
        for attribute in node.attribute:
            values.append(attribute.name)
            if attribute.HasField("g") and depth < MAX_DEPTH:
                _check_texts(attribute.g, path, depth + 1)
    if not all(isinstance(value, str) for value in values):
        raise LoadError(f"{str(path)!r} is damaged: a name in it is not UTF-8 text")


def _stored_tensors(graph: Any, depth: int = 0) -> Iterator[Any]:
    """All tensors of a graph or a function, and of the graphs in its nodes."""
    yield from getattr(graph, "initializer", ())
    sparse = list(getattr(graph, "sparse_initializer", ()))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse += [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            sparse += attribute.sparse_tensors
            if depth < MAX_DEPTH:
                for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                    yield from _stored_tensors(inner, depth + 1)
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)


def _opset(package: ModuleType, proto: Any, path: Path) -> int:
    """The version of the standard's operators that a network uses."""
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions:
        if proto.opset_import:
            raise LoadError(
                f"{str(path)!r} uses no operators of the ONNX standard, only of {proto.opset_import[0].domain!r}"
            )
        raise LoadError(
            f"{str(path)!r} is of IR version {proto.ir_version} and does not say which version of the operators it "
            "uses: export the network again with a current version of its own tool"
        )
    newest = package.defs.onnx_opset_version()
    if max(versions) > newest:
        raise LoadError(
            f"{str(path)!r} uses opset {max(versions)}, and onnx {package.__version__} knows opsets up to {newest}: "
            f"install a newer onnx, or export the network with opset_version={newest}"
        )
    if max(versions) < OLDEST_OPSET:
        raise LoadError(
            f"{str(path)!r} uses opset {max(versions)}, and ConvScope reads opset {OLDEST_OPSET} and newer: convert it "
            f"with onnx.version_converter.convert_version(model, {OLDEST_OPSET + 6})"
        )
    return int(max(versions))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
