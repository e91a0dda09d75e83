"""Networks of which only the output can be computed: a function of arrays, a remote service, a session of an engine."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import OutputError

Scores = Callable[[np.ndarray], Any]
"""A function of a prepared batch, float32 (N, C, …), that returns numbers whose first axis is the batch."""


class ScoresOnly(nn.Module):
    """A function of arrays as a network without layers and without gradients.

    Args:
        function: gets a prepared batch as a float32 array (N, C, …) and returns an array (N, …).
        reason: why only the scores of this network are available; messages repeat it.
    """

    def __init__(self, function: Scores, reason: str = "") -> None:
        super().__init__()
        self.function = function
        self.reason = reason or "it is a function, whose layers and gradients are unknown"

    def forward(self, tensor: Tensor) -> Tensor:
        """The scores of a batch, on the device of the batch."""
        batch = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        try:
            scores = np.asarray(self.function(batch.copy()))  # a function may write to its argument
        except (TypeError, ValueError) as error:
            if "inhomogeneous" not in str(error):
                raise
            raise OutputError(f"{self.extra_repr()} returned rows of different lengths: return one array") from error
        if scores.dtype.kind not in "fiub":
            raise OutputError(f"{self.extra_repr()} returned {scores.dtype} instead of numbers: return an array (N, …)")
        return torch.from_numpy(np.ascontiguousarray(scores, dtype=np.float32)).to(tensor.device)

    def extra_repr(self) -> str:
        """The name of the function."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))


def scores_only_part(network: nn.Module) -> ScoresOnly | None:
    """The part of a network that is known by its scores alone; None if there is none."""
    return next((module for module in network.modules() if isinstance(module, ScoresOnly)), None)
