"""The kinds of inputs, and what one lens of each family does with each of them.

`python -m tests.input_kinds` writes docs/inputs.md; tests/test_input_kinds.py runs every cell. A kind of input is one
`Kind` in `KINDS`: a small network and a file that is explained.
"""

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import convscope as cs
from convscope.errors import ConvScopeError
from convscope.spec import FAMILIES, INPUT_FORMATS
from tests.lens_calls import call_lens
from tests.nets import seeded
from tests.networks_of_several_inputs import WORDS, ImageAndTable, WordScorer

PAGE = Path(__file__).parents[1] / "docs/inputs.md"
START, END = "<!-- lenses -->", "<!-- /lenses -->"
FORMATS_START, FORMATS_END = "<!-- formats -->", "<!-- /formats -->"
LENSES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "prediction": ("predict", {}),
    "structure": ("structure", {}),
    "activations": ("feature-maps", {}),
    "gradient": ("integrated-gradients", {"steps": 8}),
    "cam": ("grad-cam", {}),
    "backward": ("lrp", {}),
    "perturbation": ("occlusion", {"patch": 4, "stride": 4}),
    "learned": ("activation-maximization", {"unit": "0[1]", "steps": 2}),
}
"""One lens of each family, and its parameters; networks that attend have a page of their own, docs/attention.md."""
_RANDOM = np.random.default_rng(0)


def _scorer(dimensions: int, channels: int) -> nn.Module:
    """Two convolutions, global average pooling and a linear layer, in one to three dimensions."""
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    pool = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[dimensions]

    def build() -> nn.Module:
        return nn.Sequential(
            conv(channels, 6, 3, padding=1), nn.ReLU(), conv(6, 8, 3, padding=1), nn.ReLU(), pool(1), nn.Flatten(),
            nn.Linear(8, 3),
        )  # fmt: skip

    return seeded(build).eval()


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        name: the heading of its column.
        model: makes the network that takes it.
        write: writes an input into a folder and returns what is handed to a lens.
        parameters: by family, parameters that name a layer of this network.
    """

    name: str
    model: Callable[[], cs.Model]
    write: Callable[[Path], Any]
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _write_image(folder: Path) -> Any:
    Image.fromarray(_RANDOM.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / "image.png")
    return str(folder / "image.png")


def _write_bands(folder: Path) -> Any:
    import tifffile

    bands = _RANDOM.integers(0, 10_000, (6, 16, 16), dtype=np.uint16)
    tifffile.imwrite(folder / "bands.tif", bands, photometric="minisblack", metadata={"axes": "CYX"})
    return str(folder / "bands.tif")


def _write_signal(folder: Path) -> Any:
    rows = np.column_stack([np.arange(48) / 100, _RANDOM.normal(size=(48, 2))])
    np.savetxt(folder / "signal.csv", rows, delimiter=",", header="time,I,II", comments="")
    return str(folder / "signal.csv")


def _write_volume(folder: Path) -> Any:
    np.save(folder / "volume.npy", _RANDOM.normal(size=(8, 10, 12)).astype(np.float32))
    return str(folder / "volume.npy")


def _write_clip(folder: Path) -> Any:
    frames = [Image.fromarray(_RANDOM.integers(0, 256, (12, 12, 3), dtype=np.uint8)) for _ in range(6)]
    frames[0].save(folder / "clip.gif", save_all=True, append_images=frames[1:], duration=40)
    return str(folder / "clip.gif")


def _vector_network() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 3))).eval()


def _bands() -> cs.Model:
    return cs.Model(_scorer(2, 6), input=cs.BandsInput(shape=(6, 16, 16), window=(0, 1e4)))


def _vector(folder: Path) -> Any:
    return torch.from_numpy(_RANDOM.normal(size=(1, 7))).float()


def _several_inputs() -> cs.Model:
    inputs: dict[str, Any] = {
        "photo": cs.ImageInput(size=16),
        "table": cs.TableInput(features=("age", "pulse", "dose", "weight")),
    }
    return cs.Model(seeded(ImageAndTable).eval(), inputs=inputs)


def _write_image_and_row(folder: Path) -> Any:
    return {"photo": _write_image(folder), "table": [0.5, -1.0, 2.0, 0.1]}


def _tokens() -> cs.Model:
    return cs.Model(seeded(WordScorer).eval(), input=cs.TokenInput(vocabulary=WORDS, length=6))


def _write_tokens(folder: Path) -> Any:
    (folder / "review.txt").write_text("not very good film bad film", "utf-8")
    return str(folder / "review.txt")


_TOKEN_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "activations": {"layer": "gru", "gates": True},
    "learned": {"unit": "gru[1]"},
}

KINDS = (
    Kind("image", lambda: cs.Model(_scorer(2, 3), input=cs.ImageInput(size=16)), _write_image),
    Kind("bands", _bands, _write_bands),
    Kind("signal", lambda: cs.Model(_scorer(1, 2), input=cs.SignalInput(shape=(2, 48), rate=100)), _write_signal),
    Kind("volume", lambda: cs.Model(_scorer(3, 1), input=cs.VolumeInput(shape=(1, 8, 10, 12))), _write_volume),
    Kind("clip", lambda: cs.Model(_scorer(3, 3), input=cs.VideoInput(shape=(3, 6, 12, 12))), _write_clip),
    Kind("vector", lambda: cs.Model(_vector_network()), _vector),
    Kind("several inputs", _several_inputs, _write_image_and_row, {"learned": {"unit": "features.0[1]"}}),
    Kind("tokens", _tokens, _write_tokens, _TOKEN_PARAMETERS),
)
"""In the order of the columns."""


@dataclass(frozen=True)
class Cell:
    """What a lens does: a value, or the message with which it refuses."""

    value: Any
    refusal: str = ""


def run(family: str, kind: Kind, folder: Path) -> Cell:
    """Run the lens of a family on a kind of input; anything but a value or a refusal of ours is raised."""
    name, parameters = LENSES[family]
    spec = next(spec for spec in cs.lenses() if spec.command == name)
    parameters = {**parameters, **kind.parameters.get(family, {})}
    try:
        return Cell(call_lens(spec, kind.model(), kind.write(folder), **parameters))
    except ConvScopeError as error:
        return Cell(None, str(error))


def column(kind: Kind, folder: Path) -> dict[str, Cell]:
    """The cells of a kind of input, by family."""
    return {family: run(family, kind, folder) for family in LENSES}


def reason(refusal: str) -> str:
    """The first clause of a refusal, without the name of the lens, shapes and what to do instead."""
    clause = re.sub(r"[;:] .*| of shape \([\d, ]*\)", "", refusal)
    return re.sub(r"^[\w-]+ (?=needs|masks|moves)", "it ", clause)


def table(columns: Mapping[str, Mapping[str, Cell]]) -> str:
    """The table of families × kinds, from the cells of all kinds."""
    numbers: dict[str, int] = {}
    rows = []
    for family in LENSES:
        cells = []
        for cell in (cells[family] for cells in columns.values()):
            if cell.refusal:
                numbers.setdefault(reason(cell.refusal), len(numbers) + 1)
            cells.append(f"refuses ({numbers[reason(cell.refusal)]})" if cell.refusal else "works")
        rows.append(f"| {FAMILIES[family].partition(':')[0]}: `{LENSES[family][0]}` | {' | '.join(cells)} |")
    head = [f"| | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    return "\n".join([*head, *rows, "", *(f"{number}. {text}." for text, number in numbers.items())])


def formats() -> str:
    """The table of the formats of input files."""
    INPUT_FORMATS.fill()
    rows = []
    for format in INPUT_FORMATS.values():
        endings = " ".join(f"`{ending}`" for ending in format.extensions) or "a folder"
        options = " ".join(f"`?{option}=`" for option in format.options)
        rows.append(f"| {format.title} | {endings} | {options} | {format.extra and f'`convscope[{format.extra}]`'} |")
    return "\n".join(["| file | endings | options | needs |", "|---|---|---|---|", *rows])


def between(text: str, start: str, end: str) -> str:
    """The part of a page between two marks."""
    return text.partition(start)[2].partition(end)[0].strip()


def write_page() -> None:
    """Run the lenses on all kinds, and write both tables into the page."""
    columns = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            columns[kind.name] = column(kind, Path(folder))
    text = PAGE.read_text("utf-8")
    for start, end, new in ((START, END, table(columns)), (FORMATS_START, FORMATS_END, formats())):
        head, _, rest = text.partition(start)
        text = f"{head}{start}\n{new}\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    write_page()
