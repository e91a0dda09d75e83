"""The roads by which a network comes to ConvScope, and what one lens of each family does on each of them.

`python -m tests.roads` writes docs/roads.md; tests/test_roads.py runs every road whose package is installed and
compares its column. A road is one `Road` in `ROADS`.
"""

import contextlib
import importlib
import importlib.util
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.catalogue import call
from convscope.errors import ConvScopeError
from convscope.spec import FAMILIES
from tests.nets import seeded

PAGE = Path(__file__).parents[1] / "docs/roads.md"
SIDE = 16
LABELS = ("ant", "bee", "cat")
INPUT = cs.ImageInput(size=SIDE, mean=(0.4, 0.45, 0.5), std=(0.2, 0.25, 0.3))
LENSES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "prediction": ("predict", {}),
    "structure": ("structure", {}),
    "activations": ("feature-maps", {}),
    "gradient": ("integrated-gradients", {"target": "bee", "steps": 8}),
    "cam": ("grad-cam", {"target": "bee"}),
    "backward": ("lrp", {"target": "bee"}),
    "perturbation": ("occlusion", {"target": "bee", "patch": 4, "stride": 4}),
    "learned": ("activation-maximization", {"unit": "bee", "steps": 2, "size": SIDE}),
}
"""One lens of each family, and its parameters; networks that attend have a page of their own, docs/attention.md."""


class Net(nn.Module):
    """A residual network of one block, as `ResNetForImageClassification` of transformers builds it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.stem_pool = nn.MaxPool2d(3, 2, 1)
        self.first, self.first_norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.second, self.second_norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu, self.pool, self.head = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(8, len(LABELS))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_pool(self.relu(self.stem_norm(self.stem(x))))
        maps = self.second_norm(self.second(self.relu(self.first_norm(self.first(x)))))
        return self.head(self.pool(self.relu(x + maps)).flatten(1))


class PlainNet(nn.Module):
    """Two convolutions, global average pooling and a linear layer, all of which have a form for whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.pool, self.head = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(8, len(LABELS))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.relu(self.second(self.relu(self.first(x))))
        return self.head(self.pool(maps).flatten(1))


@dataclass(frozen=True)
class Road:
    """A way from a network to a `Model`.

    Attributes:
        name: the heading of its column.
        open: writes the network into a folder, if it is a road of files, and opens it.
        package: what must be installed; empty where nothing must.
        same: whether it carries the network `Net`, whose maps it must then give; otherwise it has one of its own.
    """

    name: str
    open: Callable[[Path], cs.Model]
    package: str = ""
    same: bool = True

    @property
    def is_installed(self) -> bool:
        """Whether its package is installed."""
        return not self.package or importlib.util.find_spec(self.package) is not None


def make() -> Net:
    """The network that all roads carry, with statistics in its batch norms."""
    net = seeded(Net, seed=3)
    generator = torch.Generator().manual_seed(3)
    for norm in (net.stem_norm, net.first_norm, net.second_norm):
        norm.running_mean.uniform_(-0.5, 0.5, generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
    return net


def _model(module: Any) -> cs.Model:
    return cs.Model(module, input=INPUT, labels=LABELS)


def _address(path: Path | str, **options: Any) -> cs.Model:
    return cs.load(str(path), labels=LABELS, size=SIDE, mean=INPUT.mean, std=INPUT.std, **options)


def _state_dict(folder: Path) -> cs.Model:
    torch.save(make().state_dict(), folder / "weights.pt")
    source = folder / "road_net.py"
    source.write_text("from tests.roads import Net\n")
    return _address(f"{source}:Net", weights=folder / "weights.pt")


def _fx(folder: Path) -> cs.Model:
    return _model(torch.fx.symbolic_trace(make()))


def _callable(folder: Path) -> cs.Model:
    net = make()

    def scores(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net(torch.from_numpy(images)).numpy()

    return _model(scores)


def _quantized(folder: Path) -> cs.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # eager-mode quantisation is deprecated in torch
        net = torch.ao.quantization.QuantWrapper(seeded(PlainNet, seed=3)).eval()
        net.qconfig = torch.ao.quantization.get_default_qconfig()  # type: ignore[assignment]
        torch.ao.quantization.prepare(net, inplace=True)
        net(torch.randn(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
        torch.ao.quantization.convert(net, inplace=True)
    return _model(net)


def _exported(folder: Path) -> cs.Model:
    batch = torch.export.Dim("batch")
    program = torch.export.export(make(), (torch.randn(2, 3, SIDE, SIDE),), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / "net.pt2")
    return _address(folder / "net.pt2")


def _scripted(folder: Path) -> cs.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        torch.jit.script(make()).save(folder / "net.pt")
        return _address(folder / "net.pt")


def _onnx(folder: Path) -> cs.Model:
    path = folder / "net.onnx"
    options: dict[str, Any] = {
        "input_names": ["image"],
        "output_names": ["scores"],
        "dynamic_axes": {"image": [0], "scores": [0]},
        "training": torch.onnx.TrainingMode.PRESERVE,  # otherwise batch norms become part of the convolutions
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter without onnxscript is deprecated
        torch.onnx.export(make(), (torch.randn(2, 3, SIDE, SIDE),), path, dynamo=False, **options)
    return _address(path)


def _keras(folder: Path) -> cs.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras converts its own tensors in a deprecated way
        save_keras(make(), folder / "net.keras")
    return _address(folder / "net.keras")


def save_keras(net: nn.Module, path: Path) -> None:
    """Write the network `Net` as a Keras file with the same weights."""
    from convscope.loaders.keras import engine

    keras = engine.library()
    layers = keras.layers
    given = keras.Input((SIDE, SIDE, 3))
    x = layers.ZeroPadding2D(3)(given)
    x = layers.BatchNormalization(epsilon=1e-5, name="stem_norm")(
        layers.Conv2D(8, 7, 2, use_bias=False, name="stem")(x)
    )
    x = layers.ZeroPadding2D(1)(layers.ReLU()(x))  # zeros are no larger than what ReLU gives
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    maps = x
    for name in ("first", "second"):
        convolution = layers.Conv2D(8, 3, padding="same", use_bias=False, name=name)
        maps = layers.BatchNormalization(epsilon=1e-5, name=f"{name}_norm")(convolution(maps))
        maps = layers.ReLU()(maps) if name == "first" else maps
    maps = layers.GlobalAveragePooling2D(name="pool")(layers.ReLU()(layers.Add()([x, maps])))
    network = keras.Model(given, layers.Dense(len(LABELS), name="head")(maps))
    for name, layer in net.named_children():
        tensors = [tensor.detach() for key, tensor in layer.state_dict().items() if key != "num_batches_tracked"]
        if tensors:
            axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
            network.get_layer(name).set_weights([tensor.permute(axes[tensor.ndim]).numpy() for tensor in tensors])
    network.save(path)


def save_hugging_face(net: Net, path: Path) -> None:
    """Write the network `Net` as a folder of transformers with the same weights."""
    from convscope.loaders.transformers.library import library, quiet

    transformers = library()
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=len(LABELS)
    )
    with quiet(), torch.random.fork_rng(devices=[]):
        network = transformers.ResNetForImageClassification(config)
        network.load_state_dict(dict(zip(network.state_dict(), net.state_dict().values(), strict=True)))
        network.eval().save_pretrained(path)
        transformers.ConvNextImageProcessorPil(size={"shortest_edge": SIDE}).save_pretrained(path)


def _hugging_face(folder: Path) -> cs.Model:
    save_hugging_face(make(), folder / "resnet")
    model = cs.load(f"hf:{folder / 'resnet'}", labels=LABELS)
    model.input = INPUT  # the folder's own, which resamples in another way, is compared in tests/loaders/transformers
    return model


ROADS = (
    Road("torch module", lambda folder: _model(make())),
    Road("state dict", _state_dict),
    Road("`.pt2`", _exported),
    Road("TorchScript", _scripted),
    Road("torch.fx", _fx),
    Road("Keras", _keras, "keras"),
    Road("ONNX", _onnx, "onnx"),
    Road("Hugging Face", _hugging_face, "transformers"),
    Road("any callable", _callable),
    Road("quantized (int8)", _quantized, same=False),
)
"""In the order of the columns."""


def photograph() -> np.ndarray:
    """The picture that is explained."""
    return cs.sample("photo/china").image


@dataclass(frozen=True)
class Cell:
    """What the lens of a family does: a value, or the message with which it refuses."""

    value: Any
    refusal: str = ""


def run(family: str, model: cs.Model) -> Cell:
    """Run the lens of a family; anything but a value or a refusal of ours is raised."""
    name, parameters = LENSES[family]
    declaration = next(spec for spec in cs.lenses() if spec.command == name)
    images = [photograph()] if "image" in declaration.inputs else []
    try:
        return Cell(call(name, model, *images, **parameters))
    except ConvScopeError as error:
        return Cell(None, str(error))


def column(road: Road, folder: Path) -> dict[str, Cell]:
    """The cells of a road, by family."""
    model = road.open(folder)
    return {family: run(family, model) for family in LENSES}


def reasons(refusal: str) -> str:
    """The first clause of a refusal, without the name of the lens and what to do instead."""
    return re.sub(r"^[\w-]+ needs", "it needs", refusal).partition("; ")[0].partition(": use ")[0]


def page(columns: Mapping[str, Mapping[str, Cell]]) -> str:
    """The page with the table, from the cells of all roads."""
    numbers: dict[str, int] = {}
    rows = []
    for family in LENSES:
        cells = []
        for cell in (cells[family] for cells in columns.values()):
            if cell.refusal:
                numbers.setdefault(reasons(cell.refusal), len(numbers) + 1)
            cells.append(f"refuses ({numbers[reasons(cell.refusal)]})" if cell.refusal else "works")
        rows.append(f"| {FAMILIES[family].partition(':')[0]}: `{LENSES[family][0]}` | {' | '.join(cells)} |")
    listed = [f"{number}. {reason}." for reason, number in numbers.items()]
    head = [f"| | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    return "\n".join([*_HEAD, "", *head, *rows, "", *listed, ""])


_HEAD = """# What works on which road

A network may come to ConvScope as a module, as a file or as a function. The table says what one lens of each family
does with it: it gives the same numbers as on the torch module (int8 has a network of its own), or it refuses with a
reason. No road gives a wrong picture silently. Written by `python -m tests.roads`;
`tests/test_roads.py` runs every cell.""".splitlines()


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for the files of one road."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def write_page() -> None:
    """Run all roads, whose packages must all be installed, and write the page."""
    columns = {}
    for road in ROADS:
        with temporary_folder() as folder:
            columns[road.name] = column(road, folder)
    PAGE.write_text(page(columns), "utf-8")


if __name__ == "__main__":
    write_page()
