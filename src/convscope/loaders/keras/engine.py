"""Keras itself, where it is installed: to check a translated network, and to run one that has no translation.

Keras is imported only here. Its backend is fixed when it is first imported: a process that already has it keeps its
own, otherwise it is torch.
"""

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from convscope.errors import LoadError
from convscope.loaders.keras.config import Network
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.quick_original import attributes_listed_once, for_one_sample, without_random_weights
from convscope.loaders.keras.weights import Array, LayerWeights


def library() -> Any:
    """The package keras; None where it is not installed or has no backend."""
    if "keras" in sys.modules:
        return sys.modules["keras"]
    if find_spec("keras") is None:
        return None
    with _settings_for_import(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations
        try:
            import keras
        except ImportError:
            return None
    return keras


@contextlib.contextmanager
def _settings_for_import() -> Iterator[None]:
    """The torch backend, and no file in the home folder of the user, unless the user chose otherwise."""
    with tempfile.TemporaryDirectory() as home:
        own = {"KERAS_BACKEND": "torch", "KERAS_HOME": home}
        added = {name: value for name, value in own.items() if name not in os.environ}
        os.environ.update(added)
        try:
            yield
        finally:
            for name in added:
                del os.environ[name]


def load(path: Path, *, trust: bool) -> Any:
    """A network as Keras opens it.

    Raises:
        LoadError: Keras is not installed, or cannot open the file.
    """
    keras = library()
    if keras is None:
        raise LoadError("Keras is not installed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files are reported as such
            with _named_by_content(path) as named:
                return keras.models.load_model(named, compile=False, safe_mode=not trust)
    except Exception as error:  # whatever Keras meets in a file
        reason = " ".join(str(error).split())[:200]
        raise LoadError(f"Keras cannot open {str(path)!r}: {reason}") from error


def load_for_one_sample(config: Any, weights: IO[bytes], *, trust: bool) -> Any:
    """A network that takes one sample, with weights as Keras itself reads them from their file.

    Args:
        config: the configuration as a file of Keras 3 has it.
        weights: the HDF5 file of weights of Keras 3, in memory.
        trust: whether code in the configuration may run.

    Raises:
        Exception: whatever Keras meets.
    """
    from keras.src.saving.saving_lib import _load_state
    from keras.src.saving.serialization_lib import ObjectSharingScope

    require_own_packages(config)
    with warnings.catch_warnings(), ObjectSharingScope(), attributes_listed_once():
        warnings.simplefilter("ignore")
        own = {**for_one_sample(config), "compile_config": None}
        model = library().saving.deserialize_keras_object(own, safe_mode=not trust)
        store = _weights_store(weights)
        try:  # Keras itself takes a path alone, under which no file in memory can be opened
            _load_state(model, weights_store=store, assets_store=None, inner_path="", visited_saveables=set())
        finally:
            store.close()
    return model


def _weights_store(file: IO[bytes]) -> Any:
    """Keras' reader of weights for an open file."""
    import h5py
    from keras.src.saving.saving_lib import H5IOStore

    class Store(H5IOStore):  # type: ignore[misc] # Keras has no types
        def _get_h5_file(self, path_or_io: Any, mode: str | None = None) -> Any:
            return h5py.File(file, "r")

    return Store("model.weights.h5")


def load_hdf5_for_one_sample(config: Any, path: Path, *, trust: bool) -> Any:
    """The same for an HDF5 file of a whole network.

    Raises:
        Exception: whatever Keras meets.
    """
    from keras.src.legacy.saving import saving_options, saving_utils
    from keras.src.saving.serialization_lib import SafeModeScope

    require_own_packages(config)
    with (
        warnings.catch_warnings(),
        _named_by_content(path) as named,
        saving_options.keras_option_scope(use_legacy_config=True),
        SafeModeScope(not trust),
    ):
        warnings.simplefilter("ignore")
        model = saving_utils.model_from_config(for_one_sample(config))
        model.load_weights(named)
    return model


@contextlib.contextmanager
def _named_by_content(path: Path) -> Iterator[Path]:
    """The path of a file with the ending that Keras expects of its content; folders and others as they are."""
    content = ""
    if path.is_file():
        with path.open("rb") as file:
            content = {b"PK\x03\x04": ".keras", b"\x89HDF": ".h5"}.get(file.read(4), "")
    if not content or path.suffix in (content, ".hdf5" if content == ".h5" else ""):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder) / f"{path.stem}{content}"
        named.symlink_to(path.resolve())
        yield named


def build(config: Any, weights: LayerWeights, network: Network, *, trust: bool) -> Any:
    """A network as Keras builds it from its configuration, with given weights.

    Raises:
        LoadError: Keras is not installed, or does not build it; or its configuration names classes of other packages,
            which would be imported.
    """
    keras = library()
    if keras is None:
        raise LoadError("Keras is not installed")
    require_own_packages(config)
    config = without_random_weights(config)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(config, Mapping) and "module" in config:
                model = keras.saving.deserialize_keras_object(config, safe_mode=not trust)
            else:
                from keras.src.legacy.saving import saving_utils

                model = saving_utils.model_from_config(config)
            if not model.built:
                model.build([None, *network_shape(network)[1:]])
            _set_weights(model, weights, network)
    except Exception as error:  # whatever Keras meets in a configuration
        reason = " ".join(str(error).split())[:200]
        raise LoadError(f"Keras does not build it: {reason}") from error
    return model


def network_shape(network: Network) -> tuple[int | None, ...]:
    """The shape of the input that a configuration declares."""
    from convscope.loaders.keras.inputs import declared_shape

    shape = declared_shape(network)
    if shape is None:
        raise LoadError("its configuration declares no input shape")
    return shape


def require_own_packages(config: Any) -> None:
    """Refuse a configuration that names packages other than Keras, which old versions of Keras would import.

    Raises:
        LoadError: it names one.
    """
    if foreign := next(_foreign_modules(config), None):
        raise LoadError(f"its configuration names the package {foreign[:60]!r}, which is not imported")


def _foreign_modules(config: Any) -> Iterator[str]:
    """Packages other than Keras and Python's built-in objects that a configuration names."""
    if isinstance(config, Mapping):
        name = config.get("module")
        if isinstance(name, str) and name.partition(".")[0] not in ("keras", "builtins"):
            yield name
        for value in config.values():
            yield from _foreign_modules(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _foreign_modules(value)


def _set_weights(model: Any, weights: LayerWeights, network: Network) -> None:
    """Give each layer of a Keras model its arrays."""
    for layer in network.layers:
        own = weights.children.get(layer.name)
        if own is None or not (own.arrays or own.children):
            continue
        built = model.get_layer(layer.name)
        if layer.network is not None:
            _set_weights(built, own, layer.network)
        elif own.children:
            for role, inner in own.children.items():
                if inner.children:
                    raise LoadError(f"layer {layer.name!r} wraps a network")
                getattr(built, role).set_weights(list(inner.arrays))
        elif own.arrays:
            built.set_weights(list(own.arrays))
            if hasattr(built, "finalize_state"):
                built.finalize_state()  # Normalization computes with copies of its statistics


class KerasFunction:
    """A Keras model as a function from torch's arrays (N, C, …), one for each input, to one of its outputs (N, …)."""

    def __init__(self, model: Any, layout: Layout, *, output: int = 0) -> None:
        self.model, self.layout, self.output = model, layout, output

    def __call__(self, *arrays: Array) -> Array:
        """The output for a batch of each input."""
        members = self._run(arrays)
        return from_keras_order(as_array(members[self.output if len(members) > 1 else 0]), self.layout)

    def outputs(self, *arrays: Array) -> list[Array]:
        """All outputs for a batch of each input."""
        return [from_keras_order(as_array(member), self.layout) for member in self._run(arrays)]

    def _run(self, arrays: tuple[Array, ...]) -> Sequence[Any]:
        with warnings.catch_warnings(), torch.no_grad():  # on torch it would record a graph
            warnings.simplefilter("ignore")  # old files list their inputs in another structure
            outputs = self.model(self._as_keras_takes(arrays), training=False)
        members = list(outputs.values()) if isinstance(outputs, dict) else outputs
        return members if isinstance(members, (list, tuple)) else [members]

    def _as_keras_takes(self, arrays: tuple[Array, ...]) -> Array | list[Array]:
        """One array, or a list of several, with the axes in Keras' order."""
        ordered = [to_keras_order(part, self.layout) for part in arrays]
        return ordered if len(ordered) > 1 else ordered[0]

    def layer_outputs(self, *arrays: Array) -> Iterator[tuple[str, Array]]:
        """The output of each call of a layer by its name, in the order of execution."""
        graph = getattr(self.model, "_functional", None) or self.model
        nodes = [node for depth in sorted(graph._nodes_by_depth, reverse=True) for node in graph._nodes_by_depth[depth]]
        calls = [(node.operation.name, node.output_tensors[0]) for node in nodes if not node.is_input]
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            outputs = library().Model(graph.inputs, [tensor for _, tensor in calls])(
                self._as_keras_takes(arrays), training=False
            )
        for (name, _), output in zip(calls, outputs if len(calls) > 1 else [outputs], strict=True):
            yield name, from_keras_order(as_array(output), self.layout)


def as_array(tensor: Any) -> Array:
    """A tensor of any backend as an array."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
    return np.asarray(tensor)


def to_keras_order(arrays: Array, layout: Layout) -> Array:
    """Arrays (N, C, …) with their axes in Keras' order."""
    moved = arrays if layout.channels_first or arrays.ndim <= 2 else np.moveaxis(arrays, 1, -1)
    return np.ascontiguousarray(moved)


def from_keras_order(arrays: Array, layout: Layout) -> Array:
    """Arrays in Keras' order with their channels at axis 1."""
    return arrays if layout.channels_first or arrays.ndim <= 2 else np.moveaxis(arrays, -1, 1)
