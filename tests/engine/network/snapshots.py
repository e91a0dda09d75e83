"""The state of an object as plain data."""

from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def snapshot(obj: Any, depth: int = 6) -> Any:
    """An object's contents in a form that ``==`` compares; tensors with their bits, addresses and identities."""
    if isinstance(obj, Tensor):
        bits = obj.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return (id(obj), obj.data_ptr(), tuple(obj.shape), obj.stride(), obj.dtype, obj.requires_grad, bits)
    if isinstance(obj, np.ndarray):
        return (id(obj), obj.tobytes())
    if isinstance(obj, torch.Generator):
        return obj.get_state().tolist()
    if isinstance(obj, np.random.Generator):
        return repr(obj.bit_generator.state)
    if isinstance(obj, dict):
        return [(id(obj), key, snapshot(value, depth - 1)) for key, value in obj.items()] if depth else id(obj)
    if isinstance(obj, (list, tuple, set, deque)):
        return [id(obj), *(snapshot(value, depth - 1) for value in obj)] if depth else id(obj)
    if isinstance(obj, (nn.Module, SimpleNamespace, Cache)):
        return (id(obj), snapshot(vars(obj), depth - 1)) if depth else id(obj)
    return repr(obj)


class Cache:
    """The key cache of a transformer."""

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
