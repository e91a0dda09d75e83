"""``nn.MultiheadAttention`` without its fused kernel, whose operations nothing sees."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def without_attention_fast_path() -> Iterator[None]:
    """Have ``nn.MultiheadAttention`` run as separate operations instead of one fused kernel."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
