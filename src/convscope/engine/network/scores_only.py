"""Networks of which only the output can be computed: a function of arrays, a remote service, a session of an engine."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import OutputError

Scores = Callable[..., Any]
"""A function of a prepared batch, float32 (N, C, …), that returns numbers whose first axis is the batch.

A network of several inputs is a function of as many batches.
"""


class ScoresOnly(nn.Module):
    """A function of arrays as a network without layers and without gradients.

    Args:
        function: gets a prepared batch of each input as a float32 array (N, C, …) and returns an array (N, …).
        reason: why only the scores of this network are available; messages repeat it.
    """

    def __init__(self, function: Scores, reason: str = "") -> None:
        super().__init__()
        self.function = function
        self.reason = reason or "it is a function, whose layers and gradients are unknown"

    def forward(self, *tensors: Tensor) -> Tensor:
        """The scores of a batch of each input, on the device of the first."""
        batches = [tensor.detach().to("cpu", torch.float32).contiguous().numpy() for tensor in tensors]
        try:
            scores = np.asarray(self.function(*(batch.copy() for batch in batches)))  # it may write to its arguments
        except (TypeError, ValueError) as error:
            if "inhomogeneous" not in str(error):
                raise
            raise OutputError(f"{self.extra_repr()} returned rows of different lengths: return one array") from error
        if scores.dtype.kind not in "fiub":
            raise OutputError(f"{self.extra_repr()} returned {scores.dtype} instead of numbers: return an array (N, …)")
        return torch.from_numpy(np.ascontiguousarray(scores, dtype=np.float32)).to(tensors[0].device)

    def extra_repr(self) -> str:
        """The name of the function."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))


def scores_only_part(network: nn.Module) -> ScoresOnly | None:
    """The part of a network that is known by its scores alone; None if there is none."""
    return next((module for module in network.modules() if isinstance(module, ScoresOnly)), None)
