"""What a network makes of images: one vector for each, the input of its last linear layer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.engine.network.hooks import first_tensor
from convscope.engine.network.model import Model

CHUNK = 32
"""So many files are prepared at a time."""

Floats = np.ndarray[Any, np.dtype[np.float32]]


def features_within(model: Model, run: Callable[[], object], count: int) -> Tensor | None:
    """What the last linear layer receives while the network runs (N, features).

    Args:
        run: runs the network on ``count`` images.

    Returns:
        None if there is no such layer, or not one vector for each image.
    """
    layers = [module for module in model.module.modules() if isinstance(module, nn.Linear)]
    if not layers:
        return None
    parts: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        tensor = first_tensor(inputs)
        if tensor is not None:
            parts.append(tensor.detach().float().cpu())

    handle = layers[-1].register_forward_hook(keep)
    try:
        run()
    finally:
        handle.remove()
    features = torch.cat(parts) if parts and all(part.ndim == 2 for part in parts) else None
    return features if features is not None and len(features) == count else None


def features_of_batch(model: Model, batch: Tensor) -> Tensor | None:
    """The features of prepared inputs (N, features); None as for `features_within`."""
    with model.preserve_state(), torch.no_grad():
        model.run(model.input_copy(batch[:1]))  # the first run of a shape is observed, with passes of its own
        return features_within(model, lambda: model.run(model.input_copy(batch)), len(batch))


def features_of_inputs(model: Model, paths: Sequence[Path]) -> Floats | None:
    """The features of image files (N, features); None as for `features_within`.

    Raises:
        InputError: the network does not take images.
    """
    parts = []
    for start in range(0, len(paths), CHUNK):
        part = features_of_batch(model, model.prepare([str(path) for path in paths[start : start + CHUNK]]).tensor)
        if part is None:
            return None
        parts.append(part.numpy())
    return np.concatenate(parts).astype(np.float32) if parts else None


def standardised(features: Floats) -> Floats:
    """Features of mean zero and variance one, those that do not vary left out."""
    deviations = features.std(0)
    kept = deviations > 1e-6 * max(float(deviations.max(initial=0.0)), 1e-30)
    result: Floats = ((features - features.mean(0)) / np.where(kept, deviations, 1))[:, kept]
    return result


def distances(features: Floats) -> Floats:
    """The Euclidean distance of each pair (N, N), infinite on the diagonal."""
    squares = (features.astype(np.float64) ** 2).sum(1)
    product = features.astype(np.float64) @ features.T
    result = np.sqrt((squares[:, None] + squares - 2 * product).clip(0))
    np.fill_diagonal(result, np.inf)
    single: Floats = result.astype(np.float32)
    return single
