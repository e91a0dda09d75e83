"""The files that shell lines of the README and of the guides name, made for the tests that run these lines."""

import importlib.util
import shlex
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from tests import roads

DOWNLOADED = {"hf:microsoft/resnet-50": "hf:./folder", "keras:VGG16": "keras:VGG16?weights=none"}
"""Networks that a line would download, and what stands for them in a test."""


def words_of(line: str) -> list[str]:
    """The words of a line, with networks in place of those that it would download."""
    return [DOWNLOADED.get(word, word) for word in shlex.split(line)]


def prepare(line: str, folder: Path) -> list[str]:
    """The words of a line, with the files that it names made, where this takes only installed packages.

    Where a package is missing, the test is skipped.
    """
    words = words_of(line)
    read = words[:-1] if words[1] == "convert" else words  # the last word there is written
    for name, (package, make) in FILES.items():
        if any(name in word for word in read):
            if package and importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # exporters and Keras warn of their own internals
                make(folder / name)
    if words[1] == "train":
        words += ["--epochs", "1", "--images", "64"]  # what the pages show takes half a minute
    if "--landscape" in words:
        words += ["--points", "3"]
    return words


def _photograph(path: Path) -> None:
    Image.fromarray(roads.photograph()).save(path)


def _keras(path: Path) -> None:
    roads.save_keras(roads.make(), path)


def _keras_digits(path: Path) -> None:
    from convscope.loaders.keras import engine

    keras = engine.library()
    convolutions = [keras.layers.Conv2D(4, 3, activation="relu", name=f"conv{number}") for number in (1, 2, 3)]
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10, activation="softmax")]
    keras.Sequential([keras.Input((28, 28, 1)), *convolutions, *head]).save(path)


def _onnx(path: Path) -> None:
    from tests.loaders.onnx.onnx_files import export

    export(roads.make(), torch.randn(1, 3, roads.SIDE, roads.SIDE), path)


def _exported(path: Path) -> None:
    torch.export.save(torch.export.export(roads.make(), (torch.randn(1, 3, roads.SIDE, roads.SIDE),)), path)


def _hugging_face(path: Path) -> None:
    from tests.loaders.transformers import networks

    networks.save(networks.resnet, path)


def _vision_transformer(path: Path) -> None:
    from tests.loaders.transformers import networks

    def of_a_cat(transformers: Any) -> tuple[Any, Any]:
        network, processor = networks.vit(transformers)
        network.config.id2label = {0: "tabby", 1: "dog", 2: "bird"}
        return network, processor

    networks.save(of_a_cat, path)


def _digit(path: Path) -> None:
    Image.fromarray(roads.photograph()).convert("L").save(path)


def _scores_of_digits(path: Path) -> None:
    path.write_text(
        "import numpy as np\nimport convscope as cs\n\n\ndef make():\n"
        "    def scores(images: np.ndarray) -> np.ndarray:\n        return images[:, 0, 2:5, 2:4].mean(2)\n\n"
        "    return cs.Model(scores, input=cs.ImageInput(size=8, channels=1))\n"
    )


def _source(path: Path) -> None:
    path.write_text("from tests.roads import Net as make\n")


def _weights(path: Path) -> None:
    from safetensors.torch import save_file

    save_file(roads.make().state_dict(), path)


def _photograph_and_table(path: Path) -> None:
    """The network of the guide itself, with a function that returns it."""
    guide = (Path(__file__).parents[1] / "docs/howto/several-inputs.md").read_text("utf-8")
    source = guide.split("```python\n")[1].partition("photo = ")[0]
    path.write_text(f"{source}\ndef make():\n    return model\n", "utf-8")


def _recording(path: Path) -> None:
    rows = np.column_stack([np.arange(3000) / 500, np.random.default_rng(0).normal(size=(3000, 2))])
    np.savetxt(path, rows, delimiter=",", header="time,MLII,V5", comments="")


def _scan(path: Path) -> None:
    import nibabel

    voxels = np.random.default_rng(0).normal(0, 300, (40, 36, 20)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.5, 1.5, 3, 1])), path)  # type: ignore[no-untyped-call]


def _training(path: Path) -> None:
    cs.train("digits", path, epochs=2, images=64)


def _class_folders(path: Path) -> None:
    for label in ("cat", "dog"):
        (path / label).mkdir(parents=True)
        for number in range(3):
            _photograph(path / label / f"{number}.png")


def _network_of(dimensions: int, channels: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        layers = f"nn.Conv{dimensions}d({channels}, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool{dimensions}d(1), nn.Flatten()"
        path.write_text(f"from torch import nn\ndef make():\n    return nn.Sequential({layers}, nn.Linear(4, 2))\n")

    return write


FILES: Mapping[str, tuple[str, Callable[[Path], None]]] = {
    "photo.jpg": ("", _photograph),
    "net.keras": ("keras", _keras),
    "mnist.keras": ("keras", _keras_digits),
    "net.onnx": ("onnx", _onnx),
    "net.pt2": ("", _exported),
    "folder": ("transformers", _hugging_face),
    "my-vit": ("transformers", _vision_transformer),
    "digit.png": ("", _digit),
    "digits.py": ("", _scores_of_digits),
    "net.py": ("", _source),
    "best.safetensors": ("safetensors", _weights),
    "ecg.csv": ("", _recording),
    "skin.py": ("", _photograph_and_table),
    "heart.py": ("", _network_of(1, 2)),
    "scan.nii.gz": ("nibabel", _scan),
    "chest.py": ("", _network_of(3, 1)),
    "runs/digits": ("tensorboardX", _training),
    "photos": ("", _class_folders),
    "new-photos": ("", _class_folders),
}
"""By the name in the lines: the package that it takes, and how it is made."""
