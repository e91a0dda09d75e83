"""Folders with a value or some bytes changed at random: each is opened, or refused in a sentence."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import convscope as cs
from tests.loaders.transformers import networks
from tests.loaders.transformers.networks import Build, photograph

NETWORKS = (networks.vit, networks.resnet, networks.clip, networks.wav2vec2)
VALUES: list[Any] = [
    None, 0, -1, 3, 10**12, 1.5, float("nan"), "", "gelu", "../../x", [], [1], [[1]], {}, {"a": 1}, True,
    {"height": 10**9, "width": 1}, {"shortest_edge": 10**8}, {"0": "a"},
]  # fmt: skip


def change_value(content: dict[str, Any], generator: random.Random) -> None:
    key = generator.choice(sorted(content))
    if isinstance(content[key], dict) and content[key] and generator.random() < 0.6:
        change_value(content[key], generator)
    else:
        content[key] = generator.choice(VALUES)


def change_bytes(path: Path, generator: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(3):
        content[generator.randrange(min(len(content), 4000))] = generator.randrange(256)
    path.write_bytes(content if generator.random() < 0.7 else content[: generator.randrange(len(content))])


@pytest.mark.parametrize("seed", range(40))
def test_a_changed_folder_is_opened_or_refused(seed: int, folder_of: Callable[[Build], Path], tmp_path: Path) -> None:
    generator = random.Random(seed)
    build = generator.choice(NETWORKS)
    folder = Path(shutil.copytree(folder_of(build), tmp_path / "changed"))
    kind = generator.choice(["config.json", "preprocessor_config.json", "preprocessor_config.json", "bytes"])
    if kind == "bytes":
        change_bytes(folder / generator.choice(["config.json", "model.safetensors"]), generator)
    else:
        content = json.loads((folder / kind).read_text())
        change_value(content, generator)
        (folder / kind).write_text(json.dumps(content))
    try:
        model = cs.load(f"hf:{folder}")
        if build is not networks.wav2vec2:
            assert cs.saliency(model, photograph(), target=0).values.ndim == 2
    except cs.ConvScopeError as error:
        refusal = str(error)
    else:
        refusal = "a sentence is not needed"
    assert 20 < len(refusal) < 800
