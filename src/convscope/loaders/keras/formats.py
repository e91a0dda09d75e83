"""The formats of Keras files: what they are recognized by, and how they are opened."""

import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import LoadError
from convscope.loaders.keras import archive, legacy_hdf5, tfjs
from convscope.loaders.keras.config import Network, parse_network
from convscope.loaders.keras.hdf5_file import SIGNATURE
from convscope.loaders.keras.weights import LayerWeights
from convscope.spec import file_format

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

WEIGHT_EXTENSIONS = (".h5", ".hdf5", ".keras")
"""Endings of files with weights of Keras."""


def _is_archive(path: Path, head: bytes) -> bool:
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as members:
            names = members.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    return "config.json" in names and archive.WEIGHTS_MEMBER in names


def _is_model_json(path: Path, head: bytes) -> bool:
    if path.is_dir():
        return (path / "model.json").is_file()
    return head.lstrip().startswith(b"{") and (b'"modelTopology"' in head or b'"weightsManifest"' in head)


def _is_architecture(path: Path, head: bytes) -> bool:
    return head.lstrip().startswith(b"{") and b'"class_name"' in head and b'"config"' in head


@file_format(
    name="keras",
    title="networks saved by Keras 3",
    example="net.keras",
    extensions=(".keras",),
    recognizes=_is_archive,
    extra="keras",
)
def open_archive(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Open a ``.keras`` file; ``weights`` replaces its own weights by those of another file."""
    from convscope.loaders.keras import engine
    from convscope.loaders.keras.assembly import Parts, build_model

    own, name = weights is None, f"{archive.WEIGHTS_MEMBER} in {str(path)!r}"
    with archive.opened_archive(path) as content:
        network = parse_network(content.config)
        return build_model(
            Parts(
                network,
                archive.read_archive_weights(content.weights, network, name)
                if own
                else read_any_weights(weights, network),
                content.keras_version,
                path.stem,
                _source(path, weights),
                content.config,
                partial(engine.load, path, trust=trust) if own else None,
                _for_one_sample(content, trust=trust) if own else None,
                trust,
            )
        )


def _for_one_sample(content: archive.Archive, *, trust: bool) -> Callable[[], Any] | None:
    """Opens an archive in Keras for one sample, if it holds nothing beside its configuration and weights."""
    from convscope.loaders.keras import engine

    if content.has_assets:
        return None
    return partial(engine.load_for_one_sample, content.config, content.weights, trust=trust)


@file_format(
    name="keras-hdf5",
    title="networks and weights in the HDF5 files of Keras",
    example="net.h5",
    extensions=(".h5", ".hdf5"),
    recognizes=lambda path, head: head.startswith(SIGNATURE),
    options=("arch",),
    extra="keras",
)
def open_hdf5_file(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Open an HDF5 file of a whole network, or one of weights into the architecture ``arch``."""
    from convscope.loaders.keras import engine
    from convscope.loaders.keras.assembly import Parts, build_model

    config = legacy_hdf5.read_config(path)
    arch = options.get("arch")
    if config is None:
        return _open_weights(path, arch, weights)
    if arch:
        raise LoadError(f"{str(path)!r} holds a whole network: arch={arch} is for files of weights alone")
    network, own = parse_network(config[0]), weights is None
    return build_model(
        Parts(
            network,
            legacy_hdf5.read_weights(path, network) if own else read_any_weights(weights, network),
            config[1],
            path.stem,
            _source(path, weights),
            config[0],
            partial(engine.load, path, trust=trust) if own else None,
            partial(engine.load_hdf5_for_one_sample, config[0], path, trust=trust) if own else None,
            trust,
        )
    )


@file_format(
    name="tfjs",
    title="layers models of TensorFlow.js",
    example="model.json",
    extensions=("model.json",),
    recognizes=_is_model_json,
    extra="keras",
)
def open_tfjs(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Open a ``model.json`` of TensorFlow.js, or the folder that has one."""
    from convscope.loaders.keras.assembly import Parts, build_model

    file = path / "model.json" if path.is_dir() else path
    content = tfjs.read_model_json(file)
    network = parse_network(tfjs.topology_of(content))
    arrays = tfjs.read_shards(file, content, network) if weights is None else read_any_weights(weights, network)
    name = file.parent.name if file.name == "model.json" else file.stem
    config, version = tfjs.topology_of(content), tfjs.version_of(content)
    return build_model(Parts(network, arrays, version, name, _source(path, weights), config, trust=trust))


@file_format(
    name="keras-json",
    title="architectures of Keras without weights",
    example="net.json?weights=net.weights.h5",
    extensions=(".json",),
    recognizes=_is_architecture,
    extra="keras",
)
def open_architecture(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Open what ``model.to_json()`` gave, with the weights of another file."""
    if weights is None:
        raise LoadError(f"{str(path)!r} is an architecture without weights: add ?weights=FILE")
    return _open_weights(Path(weights).expanduser(), str(path), None, source=_source(path, weights))


def read_any_weights(weights: str | Path | None, network: Network) -> LayerWeights:
    """The weights of a network from a ``.keras`` archive or an HDF5 file of any kind.

    Raises:
        LoadError: there is no such file, it is of another kind, or it does not fit.
    """
    path = Path(str(weights)).expanduser()
    if not path.is_file():
        raise LoadError(f"no such weight file: {str(path)!r}")
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"PK\x03\x04"):
        with archive.opened_archive(path) as content:
            return archive.read_archive_weights(content.weights, network, f"{archive.WEIGHTS_MEMBER} in {str(path)!r}")
    if head != SIGNATURE:
        raise LoadError(f"{str(path)!r} is neither an HDF5 file nor a .keras archive, in which Keras keeps weights")
    return legacy_hdf5.read_weights(path, network)


def _open_weights(path: Path, arch: str | None, weights: Any, *, source: str = "") -> "Model":
    """Open a file of weights alone in the architecture that an address names."""
    from convscope.loaders.keras.applications import find_architecture
    from convscope.loaders.keras.assembly import Parts, build_model

    if weights is not None:
        raise LoadError(
            f"{str(path)!r} holds weights without a network, so that {str(weights)!r} has nothing to go into"
        )
    if not arch:
        raise LoadError(
            f"{str(path)!r} holds weights without the network that they belong to: add ?arch=VGG16, or any other name "
            "of keras.applications, or ?arch=FILE.json with what model.to_json() gives"
        )
    if Path(arch).suffix == ".json":
        config, version = _read_architecture(Path(arch).expanduser())
        network = parse_network(config)
        arrays = read_any_weights(path, network)
        return build_model(Parts(network, arrays, version, path.stem, source or f"{path}?arch={arch}", config))
    return find_architecture(arch).open(path, source=f"{path}?arch={arch}")


def _read_architecture(path: Path) -> tuple[Any, str]:
    """The configuration that ``model.to_json()`` gave, and the version of Keras."""
    if not path.is_file():
        raise LoadError(f"no such file: {str(path)!r}")
    content = archive.parse_json(path.read_bytes(), repr(str(path)))
    version = content.get("keras_version") if isinstance(content, dict) else None
    is_keras3 = isinstance(content, dict) and "module" in content
    return content, str(version or ("3" if is_keras3 else "2"))


def _source(path: Path, weights: str | Path | None) -> str:
    return str(path) + (f" with {weights}" if weights else "")
