"""``hf:NAME``: networks of Hugging Face's transformers, by the name of a repository or from a folder.

A name becomes a folder (`folders`), whose configuration says which class is built (`tasks`), what of its output is
explained (`outputs`) and how images are prepared (`inputs`). The modules are those of transformers, with their names.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from convscope.spec import loader

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
