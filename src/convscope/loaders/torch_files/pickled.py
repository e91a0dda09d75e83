"""Pickles of PyTorch: a whole network, which only code can open, or weights alone."""

import warnings
from pathlib import Path

import torch
from torch import nn

from convscope.errors import LoadError
from convscope.loaders.weights import read_pickle, weights_alone


def read_module(path: Path, *, trust: bool) -> nn.Module:
    """The pickled network of a file.

    Raises:
        LoadError: it holds weights alone, or opening it would run code and is not trusted.
    """
    if not trust:
        read_pickle(path, trust=False)  # raises for anything but weights
        raise LoadError(weights_alone(path, ".pt"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # a pickle raises whatever the code in it does
        reason = " ".join(str(error).split())[:160]
        raise LoadError(f"{str(path)!r} cannot be opened: {type(error).__name__}: {reason}") from error
    if isinstance(content, dict):
        content = next((part for part in content.values() if isinstance(part, nn.Module)), content)
    if not isinstance(content, nn.Module):
        raise LoadError(weights_alone(path, ".pt"))
    return content
