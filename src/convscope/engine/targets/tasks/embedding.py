"""Embedding: a vector per image, explained by its similarity to another vector."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from convscope.engine.inputs.image_io import image_extensions, is_existing_folder
from convscope.engine.targets.task_scorer import TaskScorer, references
from convscope.engine.targets.tasks.classification import encode_tensor, predict_classes
from convscope.errors import InputError, OutputError
from convscope.spec.tasks import Task, task

if TYPE_CHECKING:
    from convscope.engine.layers.layer_trace import LayerTrace
    from convscope.engine.network.model import Model

_LIKE = "like:"
_CHUNK = 16
"""How many images of a folder are embedded together."""


class Similarity(TaskScorer):
    """The cosine of the angle between an embedding and a reference."""

    def __init__(self, text: str, reference: Tensor) -> None:
        self.text, self.reference = text, reference

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """The cosine for each output."""
        vectors = _vectors(output)
        if vectors.shape[1] != len(self.reference):
            raise OutputError(
                f"{self.text!r} holds {len(self.reference)} numbers, and an embedding of this network "
                f"{vectors.shape[1]}: give a vector of that length"
            )
        return cosine_similarity(vectors, self.reference.to(vectors)[None], dim=1)

    def describe(self, row: int) -> str:
        """The target as users write it."""
        return self.text


class OwnDirection(TaskScorer):
    """The length of an embedding along the direction of the unmodified image's own embedding.

    Unlike the similarity of an image with itself, whose gradient is zero, it says what the embedding is made of.
    """

    def __init__(self) -> None:
        self._directions: dict[int, Tensor] = {}

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """The length of each output along the direction of its image."""
        vectors = _vectors(output)
        for vector, row in zip(vectors, rows.tolist(), strict=True):
            if row not in self._directions:
                self._directions[row] = nn.functional.normalize(vector.detach(), dim=0)
        return (vectors * references(self._directions, rows, vectors.device)).sum(1)

    def describe(self, row: int) -> str:
        """The target as users write it."""
        return "its own embedding"


def _vectors(output: Tensor) -> Tensor:
    vectors = output.flatten(1) if output.ndim > 2 and max(output.shape[2:]) == 1 else output
    if vectors.ndim != 2:
        raise OutputError(f"an embedding is one vector per image, got output shape {tuple(output.shape)}")
    return vectors


def _recognizes(output: Any, model: "Model") -> bool:
    """A vector without labels whose network has no classifier: its head is an `nn.Identity`, or timm says so.

    An identity after a linear layer is no head that was taken off: that layer still gives scores.
    """
    if not isinstance(output, Tensor) or model.labels or output.ndim != 2 or output.shape[1] == 1:
        return False
    children = list(model.module.children())
    headless = bool(children) and type(children[-1]) is nn.Identity and not isinstance(children[-2:][0], nn.Linear)
    return headless or getattr(model.module, "num_classes", None) == 0


def _parse(text: str, model: "Model") -> TaskScorer | None:
    if text == "its own embedding":
        return OwnDirection()
    if not text.startswith(_LIKE):
        return None
    address = text.removeprefix(_LIKE).strip()
    if not address:
        raise InputError("like: names an image, a folder of images or a .npy file, as in like:photo.jpg")
    if Path(address).suffix == ".npy":
        return Similarity(text, _read_vector(address))
    return Similarity(text, _mean_embedding(address, model, text))


def _default_layer(model: "Model", trace: "LayerTrace") -> str | None:
    """The last map that every path leads through, also where it has as many channels as the embedding has numbers."""
    for address in reversed(trace.order):
        layer = trace.layers[address]
        if layer.has_positions and trace.output is not None and trace.is_on_every_path(address, trace.output):
            return address
    return None


def _read_vector(address: str) -> Tensor:
    try:
        vector = torch.from_numpy(np.load(address, allow_pickle=False)).float().flatten()
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"like:{address} is no vector saved as .npy ({type(error).__name__}: {error})") from error
    if not bool(torch.isfinite(vector).all()) or not bool(vector.any()):
        raise InputError(f"like:{address} holds NaN, infinite numbers or zeros alone: there is no direction to it")
    return vector


def _mean_embedding(address: str, model: "Model", text: str) -> Tensor:
    """The embedding of an image, or the mean of the directions of those in a folder."""
    files = [address]
    if is_existing_folder(address):
        extensions = image_extensions()
        files = [str(file) for file in sorted(Path(address).iterdir()) if file.suffix.lower() in extensions]
        if not files:
            raise InputError(f"{text!r} names a folder without images")
    directions = []
    with model.preserve_state(), torch.no_grad():
        for start in range(0, len(files), _CHUNK):
            prepared = model.prepare(files[start : start + _CHUNK])
            vectors = _vectors(model.run(model.input_copy(prepared.tensor)))
            directions.append(nn.functional.normalize(vectors.detach().float(), dim=1).cpu())
    network_task = model.task
    if network_task is not None and network_task.name != "embedding":
        raise InputError(
            f"{text!r} is a target of an embedding, and the task of {model.name} is {network_task.title}: open it with "
            "task='embedding' if its output is a vector to compare"
        )
    return torch.cat(directions).mean(0)


task(
    Task(
        name="embedding",
        title="embedding",
        output="vectors (N, numbers)",
        recognizes=_recognizes,
        encode=encode_tensor,
        targets={
            "": "the length of the embedding along its own direction",
            "like:FILE": "the cosine similarity to the embedding of another image",
            "like:FOLDER": "the cosine similarity to the mean of a folder of images",
            "like:FILE.npy": "the cosine similarity to a vector in a file",
            "INDEX": "one number of the embedding",
        },
        prefixes=(_LIKE,),
        hint="like:{sample}",
        target_label="Or type an input to compare with",
        default_target="its own embedding",
        default_question="What contributes to the embedding?",
        file_of=lambda text: text.removeprefix(_LIKE).strip() if text.startswith(_LIKE) else "",
        parse=_parse,
        class_scorer=lambda indices, model: OwnDirection() if bool((indices < 0).all()) else None,
        predict=functools.partial(predict_classes, explains_first=False),
        meaning="value",
        default_layer=_default_layer,
    )
)
