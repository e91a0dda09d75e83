"""The ``.keras`` archive of Keras 3: a zip file with the configuration and an HDF5 file of weights.

The weights of a layer lie at a path made of class names, ``layers/conv2d_1/vars/0``: the second layer of the class
Conv2D, whatever its own name is.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from convscope.errors import SAVE_AGAIN, LoadError, brief_reason
from convscope.loaders.keras.config import Layer, Network, parse_layer
from convscope.loaders.keras.hdf5_file import Hdf5File, open_hdf5
from convscope.loaders.keras.memory_file import memory_file
from convscope.loaders.keras.weights import Array, LayerWeights
from convscope.loaders.zip_records import copy_record, read_record

WEIGHTS_MEMBER = "model.weights.h5"
_MEMBERS = {"config.json", "metadata.json", WEIGHTS_MEMBER}
_MAX_EXPANSION = 20
"""How many times larger than its stored bytes a member of the archive may be."""
_MAX_CONFIG = 2**27
"""The largest configuration that is read, in bytes."""

_SUBLAYERS = {
    "MultiHeadAttention": ("query_dense", "key_dense", "value_dense", "output_dense"),
    "LSTM": ("cell",),
    "GRU": ("cell",),
    "SimpleRNN": ("cell",),
    "RNN": ("cell",),
    "ConvLSTM1D": ("cell",),
    "ConvLSTM2D": ("cell",),
    "ConvLSTM3D": ("cell",),
    "GroupQueryAttention": ("query_dense", "key_dense", "value_dense", "output_dense"),
}
"""The parts of a layer that hold its weights, in the order in which Keras creates them."""
_WRAPPED = {
    "Bidirectional": ("forward_layer", "backward_layer"),
    "TimeDistributed": ("layer",),
    "SpectralNormalization": ("layer",),
}
"""The layers that a wrapper holds, by their role."""


@dataclass(frozen=True)
class Archive:
    """What a ``.keras`` file says, before its weights are read.

    Attributes:
        weights: the HDF5 file of weights, in memory.
        has_assets: whether there are files beside, such as vocabularies.
    """

    config: Any
    keras_version: str
    weights: IO[bytes]
    has_assets: bool


@contextmanager
def opened_archive(path: Path) -> Iterator[Archive]:
    """Read the members of a ``.keras`` file, and keep its weights in memory meanwhile.

    Raises:
        LoadError: it is no complete zip file, lacks a member, or a member is larger than the file can hold.
    """
    with memory_file() as weights:
        try:
            with zipfile.ZipFile(path) as archive:
                config = _json_member(archive, "config.json", path)
                metadata = _json_member(archive, "metadata.json", path) if "metadata.json" in archive.namelist() else {}
                _check_member(archive, WEIGHTS_MEMBER, path, limit=None)
                copy_record(archive, WEIGHTS_MEMBER, weights)
                has_assets = not set(archive.namelist()) <= _MEMBERS
        except LoadError:
            raise
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError) as error:
            raise LoadError(
                f"{str(path)!r} is not a complete .keras archive: {brief_reason(error)}; {SAVE_AGAIN}"
            ) from error
        version = metadata.get("keras_version") if isinstance(metadata, dict) else None
        yield Archive(config, str(version or "3"), weights, has_assets)


def read_archive_weights(weights: IO[bytes], network: Network, name: str) -> LayerWeights:
    """The weights of a network from the HDF5 file of an archive."""
    with open_hdf5(weights, name) as file:
        return read_by_class(file, network)


def read_by_class(file: Hdf5File, network: Network) -> LayerWeights:
    """The weights of a network from an HDF5 file whose paths are made of class names."""
    return _network_weights(file, network, "")


def _network_weights(file: Hdf5File, network: Network, path: str) -> LayerWeights:
    folders = (f"{path}{name}" for name in ("layers", "_layer_checkpoint_dependencies"))  # the second: TensorFlow 2.13
    folder = next(filter(file.has_group, folders), f"{path}layers")
    used: dict[str, int] = {}
    children: dict[str, LayerWeights] = {}
    for layer in network.layers:
        if layer.operation:
            continue
        snake = snake_case(layer.kind)
        group = f"{folder}/{snake}_{used[snake]}" if snake in used else f"{folder}/{snake}"
        used[snake] = used.get(snake, 0) + 1
        children[layer.name] = _layer_weights(file, layer, group)
    return LayerWeights(children=children)


def _layer_weights(file: Hdf5File, layer: Layer, path: str) -> LayerWeights:
    if layer.network is not None:
        return _network_weights(file, layer.network, f"{path}/")
    arrays = _variables(file, path)
    for part in _SUBLAYERS.get(layer.kind, ()):
        own = next((name for name in (part, f"_{part}") if file.has_group(f"{path}/{name}")), part)
        arrays += _variables(file, f"{path}/{own}")
        if file.has_group(f"{path}/{own}/cells"):
            arrays += _stacked_cells(file, layer, f"{path}/{own}/cells")
    children: dict[str, LayerWeights] = {}
    for role in _WRAPPED.get(layer.kind, ()):
        config = layer.settings.get(role, layer.settings.get("layer"))
        children[role] = _layer_weights(file, parse_layer(config, depth=1), f"{path}/{role}")
    if layer.kind == "SpectralNormalization":
        arrays = []  # the vector that training uses
    return LayerWeights(tuple(arrays), children)


def _stacked_cells(file: Hdf5File, layer: Layer, path: str) -> list[Array]:
    """The arrays of several cells in one recurrent layer, in the order in which they run."""
    cell = parse_layer(layer.settings.get("cell"), depth=1)
    used: dict[str, int] = {}
    arrays: list[Array] = []
    for config in cell.settings.get("cells", ()):
        snake = snake_case(parse_layer(config, depth=1).kind)
        arrays += _variables(file, f"{path}/{snake}_{used[snake]}" if snake in used else f"{path}/{snake}")
        used[snake] = used.get(snake, 0) + 1
    return arrays


def _variables(file: Hdf5File, path: str) -> list[Array]:
    """The arrays of one layer, in order."""
    names = file.children(f"{path}/vars")
    numbers = sorted(int(name) for name in names if name.isdecimal())
    return [file.array(f"{path}/vars/{number}") for number in numbers]


def snake_case(name: str) -> str:
    """The name of a class as Keras writes it in paths: Conv2DTranspose is conv2d_transpose."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _json_member(archive: zipfile.ZipFile, member: str, path: Path) -> Any:
    return parse_json(_member(archive, member, path, limit=_MAX_CONFIG), f"{member} in {str(path)!r}")


def parse_json(text: bytes | str, name: str) -> Any:
    """JSON whose depth and content are not to be trusted."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{name} is not JSON: {type(error).__name__}: {str(error)[:100]}") from error


def _member(archive: zipfile.ZipFile, member: str, path: Path, *, limit: int | None) -> bytes:
    """The bytes of a member, unless they are far more than the file holds."""
    _check_member(archive, member, path, limit=limit)
    return read_record(archive, member)


def _check_member(archive: zipfile.ZipFile, member: str, path: Path, *, limit: int | None) -> None:
    """Refuse an archive without a member, or in which it is far larger than what the file holds."""
    if member not in archive.namelist():
        raise LoadError(f"{str(path)!r} is a zip file without {member}, so it is not a .keras archive")
    info = archive.getinfo(member)
    allowed = _MAX_EXPANSION * info.compress_size + 2**20 if limit is None else limit
    if info.file_size > min(allowed, _MAX_EXPANSION * info.compress_size + 2**20):
        raise LoadError(
            f"{member} in {str(path)!r} declares {info.file_size:,} bytes and stores {info.compress_size:,}: it is "
            "not read"
        )
