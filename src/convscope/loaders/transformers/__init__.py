"""``hf:NAME``: networks of Hugging Face's transformers, by the name of a repository or from a folder.

A name becomes a folder (`folders`), whose configuration says which class is built (`tasks`), what of its output is
explained (`outputs`) and how images are prepared (`inputs`). The modules are those of transformers, with their names.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from convscope.loaders.transformers.folders import CONFIG, MAX_CONFIG_BYTES
from convscope.spec import file_format, loader

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


@loader(
    scheme="hf",
    title="networks of Hugging Face for images and sounds, by name or from a folder",
    example="hf:microsoft/resnet-50",
    names=list,
    extra="transformers",
)
def transformers(
    name: str, *, chosen: str | None = None, weights: str | Path | None = None, trust: bool = False
) -> "Model":
    """Open a repository of Hugging Face by its name, from the local cache if it is there, or a folder by its path."""
    from convscope.loaders.transformers.folders import find_folder
    from convscope.loaders.transformers.networks import open_folder

    folder = find_folder(name, chosen=chosen, weights=weights, trust=trust)
    return open_folder(folder, address=f"hf:{name}", chosen=chosen, weights=weights, trust=trust)


def _is_folder_of_transformers(path: Path, head: bytes) -> bool:
    """Whether a folder holds a ``config.json`` that names a kind of network."""
    config = path / CONFIG
    if head or not config.is_file() or config.stat().st_size > MAX_CONFIG_BYTES:
        return False
    try:
        content = json.loads(config.read_text("utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "model_type" in content


@file_format(
    name="transformers",
    title="folders written by save_pretrained of Hugging Face's transformers",
    example="./my-vit",
    extensions=(),
    recognizes=_is_folder_of_transformers,
    extra="transformers",
)
def open_transformers(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Open a folder, as ``hf:./folder`` does."""
    from convscope.loaders.transformers.networks import open_folder

    return open_folder(path, address=str(path), weights=weights, trust=trust)
