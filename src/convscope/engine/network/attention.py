"""Attention in a form whose weights can be read, for as long as they are read.

Networks of transformers compute attention with fused kernels, which return no weights: ``output_attentions=True`` gives
nothing. Each of their configurations names the implementation, which may be changed while the network runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

_READABLE = "eager"
"""The implementation of products and a softmax, which returns its weights."""
_IMPLEMENTATION = "_attn_implementation_internal"
"""The attribute of a configuration that names its implementation."""


@contextmanager
def readable_attention(module: nn.Module) -> Iterator[None]:
    """Inside this context attention returns its weights; afterwards every part has the implementation that it had.

    Networks that choose no implementation are left as they are.
    """
    previous = [(config, vars(config)[_IMPLEMENTATION]) for config in _configurations(module)]
    try:
        for part in _outermost_with_implementations(module):
            part.set_attn_implementation(_READABLE)
        yield
    finally:
        for config, implementation in previous:
            vars(config)[_IMPLEMENTATION] = implementation


def _outermost_with_implementations(module: nn.Module) -> list[Any]:
    """The modules that set the implementation of themselves and of all their parts."""
    parts: dict[str, Any] = {}
    for address, part in module.named_modules():
        inside = any(not outer or address.startswith(f"{outer}.") for outer in parts)
        if hasattr(part, "set_attn_implementation") and not inside:
            parts[address] = part
    return list(parts.values())


def _configurations(module: nn.Module) -> list[Any]:
    """The configurations of a network and of its parts that name an implementation, each once."""
    pending: list[Any] = [part.config for part in module.modules() if hasattr(part, "set_attn_implementation")]
    configs: dict[int, Any] = {}
    while pending:
        config = pending.pop()
        if config is None or id(config) in configs:
            continue
        configs[id(config)] = config
        pending += [getattr(config, name, None) for name in getattr(config, "sub_configs", ())]
    return [config for config in configs.values() if _IMPLEMENTATION in vars(config)]
