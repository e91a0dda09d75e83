"""HDF5 files of Keras 2, which Keras 3 still writes as ``.h5``: whole networks, or weights alone.

A whole network has its configuration in the attribute ``model_config``, and its weights in the group ``model_weights``;
a file of weights has the same groups at its root. The groups are named by layers, and each lists its arrays.
"""

from pathlib import Path
from typing import Any

from convscope.errors import LoadError
from convscope.loaders.keras.archive import parse_json, read_by_class
from convscope.loaders.keras.config import Layer, Network, parse_layer
from convscope.loaders.keras.hdf5_file import Hdf5File, open_hdf5
from convscope.loaders.keras.weights import Array, LayerWeights

NamedArrays = list[tuple[str, Array]]
"""Arrays with the names under which Keras wrote them, such as ``conv1/kernel:0``."""


def read_config(path: Path) -> tuple[Any, str] | None:
    """The configuration and the version of Keras in a file of a whole network; None for a file of weights alone."""
    with open_hdf5(path, repr(str(path))) as file:
        config, version = file.attribute("", "model_config"), file.attribute("", "keras_version")
        if config is None:
            return None
    text = config.decode("utf-8", "replace") if isinstance(config, bytes) else str(config)
    version = version.decode("utf-8", "replace") if isinstance(version, bytes) else version
    return parse_json(text, f"the configuration in {str(path)!r}"), str(version or "2")


def read_weights(path: Path, network: Network) -> LayerWeights:
    """The weights of a network from an HDF5 file of any kind.

    Raises:
        LoadError: the file has none, or they are not those of the network; the first difference is named.
    """
    with open_hdf5(path, repr(str(path))) as file:
        root = "model_weights" if file.has_group("model_weights") else ""
        names = file.texts(root, "layer_names")
        if names is None:
            if file.has_group("layers") or file.has_group("_layer_checkpoint_dependencies"):
                return read_by_class(file, network)
            raise LoadError(f"{file.name} is an HDF5 file without weights of Keras")
        groups = {name: _named_arrays(file, f"{root}/{name}") for name in names}
    return assign_by_layer(groups, network, repr(str(path)))


def assign_by_layer(groups: dict[str, NamedArrays], network: Network, name: str) -> LayerWeights:
    """Give each layer its group: the one with its name, or else the one at its place among those with weights."""
    layers = [layer for layer in network.layers if not layer.operation]
    filled = [group for group, arrays in groups.items() if arrays]
    known = {layer.name for layer in layers}
    if set(filled) <= known:
        return LayerWeights(children={layer.name: _split(groups.get(layer.name, []), layer) for layer in layers})
    weighted = [layer for layer in layers if layer.network is not None or has_weights(layer)]
    if len(weighted) != len(filled):
        odd = next((group for group in filled if group not in known), filled[0])
        raise LoadError(
            f"{name} has weights for {len(filled)} layers, such as {odd!r}, and the network has {len(weighted)} layers "
            "with weights, with other names"
        )
    pairs = zip(weighted, filled, strict=True)
    return LayerWeights(children={layer.name: _split(groups[group], layer) for layer, group in pairs})


_WEIGHTED = (
    "Conv", "Deconvolution", "Depthwise", "Separable", "Dense", "BatchNorm", "SyncBatchNorm", "LayerNorm", "GroupNorm",
    "RMSNorm", "LSTM", "GRU", "SimpleRNN", "RNN", "Embedding", "PReLU", "EinsumDense", "MultiHead", "LayerScale",
    "Bidirectional", "TimeDistributed", "SpectralNorm", "AdditiveAttention",
)  # fmt: skip


def has_weights(layer: Layer) -> bool:
    """Whether layers of this kind have weights."""
    return layer.kind.startswith(_WEIGHTED) or (layer.kind == "Normalization" and layer.settings.get("mean") is None)


def _named_arrays(file: Hdf5File, path: str) -> NamedArrays:
    """The arrays that a group lists, in order."""
    names = file.texts(path, "weight_names")
    if names is None:
        raise LoadError(f"{file.name} has no list of weights for {path!r}")
    return [(name, file.array(f"{path}/{name}")) for name in names]


def _split(arrays: NamedArrays, layer: Layer) -> LayerWeights:
    """The arrays of a layer, shared out to the layers inside it."""
    if layer.network is not None:
        return _split_network(arrays, layer.network)
    if layer.kind == "Bidirectional":
        half = len(arrays) // 2
        ahead, back = (
            _split(part, parse_layer(layer.settings.get("layer"), depth=1)) for part in (arrays[:half], arrays[half:])
        )
        return LayerWeights(children={"forward_layer": ahead, "backward_layer": back})
    if layer.kind in ("TimeDistributed", "SpectralNormalization"):
        if layer.kind == "SpectralNormalization":
            arrays = [
                pair for pair in arrays if "vector_u" not in pair[0] and not pair[0].endswith(("/sn_u:0", "/u:0"))
            ]
        return LayerWeights(children={"layer": _split(arrays, parse_layer(layer.settings.get("layer"), depth=1))})
    return LayerWeights(tuple(array for _, array in arrays))


def _split_network(arrays: NamedArrays, network: Network) -> LayerWeights:
    """The arrays of a nested network by the layer that their names contain.

    Keras writes all trained weights of such a network first, then the others, so that their order alone does not tell.
    """
    by_layer: dict[str, NamedArrays] = {layer.name: [] for layer in network.layers}
    nested = {layer.name: names_within(layer) for layer in network.layers}
    for name, array in arrays:
        parts = name.split("/")
        owner = next((part for part in parts[:-1] if part in by_layer), None)
        owner = owner or next((outer for outer, inner in nested.items() if inner & set(parts)), None)
        if owner is None:
            raise LoadError(f"the weights do not fit: {name!r} belongs to no layer of the network {network.name!r}")
        by_layer[owner].append((name, array))
    return LayerWeights(children={layer.name: _split(by_layer[layer.name], layer) for layer in network.layers})


def names_within(layer: Layer) -> set[str]:
    """The names of all layers in a nested network."""
    if layer.network is None:
        return set()
    return {name for inner in layer.network.layers for name in {inner.name, *names_within(inner)}}
