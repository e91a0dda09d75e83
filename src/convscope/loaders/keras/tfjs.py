"""Layers models of TensorFlow.js: ``model.json`` with the configuration, beside it binary files with the weights."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convscope.errors import LoadError
from convscope.loaders.keras.archive import parse_json
from convscope.loaders.keras.config import Network
from convscope.loaders.keras.legacy_hdf5 import NamedArrays, assign_by_layer, names_within
from convscope.loaders.keras.weights import Array, LayerWeights

_MAX_CONFIG = 2**27
_DTYPES = {
    name: np.dtype(code)
    for name, code in {
        "float32": "<f4",
        "int32": "<i4",
        "uint8": "|u1",
        "float16": "<f2",
        "bool": "|b1",
        "uint16": "<u2",
    }.items()
}


def read_model_json(path: Path) -> Any:
    """The content of ``model.json``."""
    if path.stat().st_size > _MAX_CONFIG:
        raise LoadError(f"{str(path)!r} is larger than any configuration of a network")
    content = parse_json(path.read_bytes(), repr(str(path)))
    if not isinstance(content, Mapping) or "modelTopology" not in content:
        raise LoadError(f"{str(path)!r} is no model.json of TensorFlow.js: it has no 'modelTopology'")
    topology = content["modelTopology"]
    if content.get("format") == "graph-model" or (isinstance(topology, Mapping) and "node" in topology):
        raise LoadError(
            f"{str(path)!r} is a graph model of TensorFlow.js, which has no layers: convert the network that it was "
            "made from, or export that to ONNX"
        )
    return content


def topology_of(content: Mapping[str, Any]) -> Any:
    """The configuration of the network in the content of ``model.json``."""
    topology = content["modelTopology"]
    return topology.get("model_config", topology) if isinstance(topology, Mapping) else topology


def version_of(content: Mapping[str, Any]) -> str:
    """The version of Keras that made the network."""
    topology = content["modelTopology"]
    return str(topology.get("keras_version", "2") if isinstance(topology, Mapping) else "2")


def read_shards(path: Path, content: Mapping[str, Any], network: Network) -> LayerWeights:
    """The weights of a network from the files that ``model.json`` lists; they must lie in its own folder."""
    groups: dict[str, NamedArrays] = {}
    manifest = content.get("weightsManifest")
    if not isinstance(manifest, list):
        raise LoadError(f"{str(path)!r} lists no files of weights")
    owners = {name: layer.name for layer in network.layers for name in {*names_within(layer), layer.name}}
    for group in manifest:
        shards, entries = (group.get("paths"), group.get("weights")) if isinstance(group, Mapping) else (None, None)
        if not isinstance(shards, list) or not isinstance(entries, list) or len({*map(str, shards)}) < len(shards):
            raise LoadError(f"{str(path)!r} lists its weights in a form that is unreadable")
        data = b"".join(_shard(path, shard) for shard in shards)
        for name, array in _arrays(data, entries, path):
            owner = next((owners[part] for part in name.split("/")[:-1] if part in owners), name.split("/")[0])
            groups.setdefault(owner, []).append((name, array))
    return assign_by_layer(groups, network, repr(str(path)))


def _shard(path: Path, name: Any) -> bytes:
    """The bytes of a file beside ``model.json``."""
    if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
        raise LoadError(f"{str(path)!r} names the file {str(name)[:60]!r}, which is not in its own folder")
    shard = path.with_name(name)
    if not shard.is_file() or shard.resolve().parent != path.resolve().parent:
        raise LoadError(f"{str(path)!r} needs the file {name!r} beside it, which is missing")
    return shard.read_bytes()


def _arrays(data: bytes, entries: Any, path: Path) -> NamedArrays:
    """The arrays in the bytes of one group, one after another."""
    arrays, position = [], 0
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise LoadError(f"{str(path)!r} lists its weights in a form that is unreadable")
        quantization = entry.get("quantization")
        stored = quantization.get("dtype", "uint8") if isinstance(quantization, Mapping) else entry.get("dtype")
        shape = entry.get("shape")
        dtype = _DTYPES.get(stored) if isinstance(stored, str) else None
        if dtype is None or not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise LoadError(f"{str(path)!r} describes the array {entry['name']!r} in a form that is unreadable")
        count = math.prod(shape)
        if position + count * dtype.itemsize > len(data):
            raise LoadError(
                f"the weights of {str(path)!r} are cut off: {entry['name']!r} needs {count * dtype.itemsize:,} bytes "
                f"at {position:,}, and there are {len(data):,}"
            )
        array: Array = np.frombuffer(data, dtype, count, position).reshape(shape)
        position += count * dtype.itemsize
        if isinstance(quantization, Mapping) and "scale" in quantization:
            scale, least = quantization["scale"], quantization.get("min", 0)
            if not isinstance(scale, (int, float)) or not isinstance(least, (int, float)):
                raise LoadError(f"{str(path)!r} describes the array {entry['name']!r} in a form that is unreadable")
            array = array.astype(np.float32) * float(scale) + float(least)
        arrays.append((entry["name"], array))
    if position != len(data):
        raise LoadError(f"the weights of {str(path)!r} have {len(data) - position:,} bytes more than model.json lists")
    return arrays
