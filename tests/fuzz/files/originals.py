"""The files that are mutated: small networks, really saved in each format."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from tests.fuzz.files.graphs import GRAPHS
from tests.loaders.keras import handmade
from tests.loaders.torch_files.networks import exported, save, scripted, traced
from tests.loaders.transformers import networks as transformers_networks

Files = Mapping[str, bytes]
"""The files of one network by their names in its folder."""


@dataclass(frozen=True)
class Kind:
    """A format.

    Attributes:
        name: what results are counted under.
        main: the file that is opened, or "." for the folder.
        write: writes networks of this format, each into a folder of its own in the folder that it is given.
    """

    name: str
    main: str
    write: Callable[[Path], None]


def small() -> nn.Module:
    """A network with a convolution, a norm and a linear layer, and fixed weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(2, 2)).eval()


EXAMPLE = torch.zeros(2, 3, 8, 8)

KERAS_CONFIG = handmade.functional(
    handmade.IMAGE,
    handmade.CONV,
    handmade.layer("BatchNormalization", "norm", "conv", scale=False, center=False),
    handmade.layer("MaxPooling2D", "max", "norm", pool_size=[2, 2], strides=[2, 2], padding="same"),
    handmade.layer("ZeroPadding2D", "pad", "max", padding=[[1, 1], [1, 1]]),
    handmade.layer("Reshape", "shape", "pad", target_shape=[36, 4]),
    handmade.layer("Permute", "turn", "shape", dims=[2, 1]),
    handmade.layer("Concatenate", "join", ["turn", "turn"], axis=1),
    handmade.layer("GlobalAveragePooling1D", "mean", "join"),
    handmade.layer("Activation", "scores", "mean", activation="softmax"),
    output="scores",
)
"""Layers with many kinds of settings."""


def _store(folder: Path, files: Files) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _write_keras(folder: Path) -> None:
    _store(folder / "plain", {"net.keras": handmade.archive_bytes()})
    arrays = handmade.weights()
    own = {name: arrays[name] for name in ("conv/kernel", "conv/bias")}
    own |= {f"batch_normalization/vars/{index}": arrays["conv/bias"] ** 2 + 1 for index in range(2)}
    _store(folder / "many", {"net.keras": handmade.archive_bytes(KERAS_CONFIG, own)})


def _write_hdf5(folder: Path) -> None:
    _store(folder / "plain", {"net.h5": handmade.hdf5_bytes()})


def _write_tfjs(folder: Path) -> None:
    handmade.write_tfjs(folder / "plain")


def _write_onnx(folder: Path) -> None:
    for name, build in GRAPHS.items():
        _store(folder / name, build())


def _write_exported(folder: Path) -> None:
    (folder / "plain").mkdir(parents=True)
    save(exported(small(), EXAMPLE), folder / "plain/net.pt2")


def _write_scripted(folder: Path) -> None:
    (folder / "plain").mkdir(parents=True)
    save(scripted(small()), folder / "plain/net.pt")


def _write_traced(folder: Path) -> None:
    (folder / "plain").mkdir(parents=True)
    save(traced(small(), EXAMPLE), folder / "plain/net.pt")


def _write_pickled(folder: Path) -> None:
    (folder / "plain").mkdir(parents=True)
    torch.save(small(), folder / "plain/net.pt")


def _write_state(folder: Path) -> None:
    for name, zipped in (("zip", True), ("legacy", False)):
        (folder / name).mkdir(parents=True)
        torch.save(small().state_dict(), folder / name / "net.pth", _use_new_zipfile_serialization=zipped)


def _write_safetensors(folder: Path) -> None:
    from safetensors.torch import save_file

    (folder / "plain").mkdir(parents=True)
    save_file(small().state_dict(), folder / "plain/net.safetensors")


def _write_transformers(folder: Path) -> None:
    folder.mkdir(parents=True)
    names = transformers_networks
    for build in (names.vit, names.resnet, names.clip, names.wav2vec2):
        transformers_networks.save(build, folder / build.__name__)


def _write_labels(folder: Path) -> None:
    _store(folder / "text", {"labels.txt": "\n".join(f"class {index}" for index in range(10)).encode()})
    _store(folder / "list", {"labels.json": json.dumps([f"class {index}" for index in range(10)]).encode()})
    by_index = {str(index): [f"n{index}", f"class {index}"] for index in range(10)}
    _store(folder / "object", {"labels.json": json.dumps(by_index).encode()})


def _write_source(folder: Path) -> None:
    code = b"import canary_module\n\ndef make():\n    return canary_module.strike()\n\nmake()\n"
    _store(folder / "plain", {"net.py": code})


KINDS = {
    kind.name: kind
    for kind in (
        Kind("keras", "net.keras", _write_keras),
        Kind("hdf5", "net.h5", _write_hdf5),
        Kind("tfjs", "model.json", _write_tfjs),
        Kind("onnx", "net.onnx", _write_onnx),
        Kind("exported", "net.pt2", _write_exported),
        Kind("scripted", "net.pt", _write_scripted),
        Kind("traced", "net.pt", _write_traced),
        Kind("pickled", "net.pt", _write_pickled),
        Kind("state", "net.pth", _write_state),
        Kind("safetensors", "net.safetensors", _write_safetensors),
        Kind("transformers", ".", _write_transformers),
        Kind("labels", "labels", _write_labels),
        Kind("source", "net.py", _write_source),
    )
}
"""The formats by name."""


def write_originals(folder: Path) -> dict[str, list[Files]]:
    """The networks of each format, written to a folder and read from it."""
    originals: dict[str, list[Files]] = {}
    for kind in KINDS.values():
        kind.write(folder / kind.name)
        networks = sorted(path for path in (folder / kind.name).iterdir() if path.is_dir())
        originals[kind.name] = [{file.name: file.read_bytes() for file in sorted(net.iterdir())} for net in networks]
    return originals
