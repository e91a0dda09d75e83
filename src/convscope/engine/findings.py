"""What was found out about a network by running it, kept until its modules change.

A `Model` has its own findings. A bare module passed to lens after lens is wrapped anew at every call, so its findings
are kept with the module itself.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from convscope.engine.fused import Pairs

if TYPE_CHECKING:
    from convscope.engine.meaning import Meaning
    from convscope.engine.trace import Traced


@dataclass
class Findings:
    """What is known of one network.

    Attributes:
        traces: by the shape of an input, which layers ran and how their outputs lie.
        default_layers: by that shape, and the layer of an explained unit, the layer that CAM methods look at.
        checks: what a value must say of the network (`engine/network_checks.py`), by key.
        meanings: by the shape of an input, what the output's numbers are.
        memory_formats: by the shape of a batch, the memory format in which it runs fastest.
        pairs: convolutions and the batch norms folded into them.
        in_parts: whether layers were seen to run for some of the images of a batch at a time.
        quantized: the address of the first quantised layer, None where there is none; empty before it was looked for.
    """

    traces: dict[tuple[int, ...], "Traced"] = field(default_factory=dict)
    default_layers: dict[tuple[int | str | None, ...], str] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    meanings: dict[tuple[int, ...], "Meaning"] = field(default_factory=dict)
    memory_formats: dict[tuple[int, ...], torch.memory_format] = field(default_factory=dict)
    pairs: Pairs | None = None
    in_parts: bool = False
    quantized: tuple[str | None, ...] = ()
    _modules: tuple[weakref.ref[nn.Module], ...] = ()
    _backward_hooks: tuple[int, ...] = ()

    def keep_up(self, modules: Sequence[nn.Module], hooks: tuple[int, ...]) -> None:
        """Forget what was found of other modules, and what depends on backward hooks that have come or gone."""
        if len(modules) != len(self._modules) or any(a is not b() for a, b in zip(modules, self._modules, strict=True)):
            self._modules, self.pairs, self.quantized = tuple(map(weakref.ref, modules)), None, ()
            self.in_parts = False
            for found in (self.traces, self.default_layers, self.checks, self.meanings, self.memory_formats):
                found.clear()
        if hooks != self._backward_hooks:  # they change what flows back
            self._backward_hooks = hooks
            self.checks.clear()


_OF_BARE_MODULES: weakref.WeakKeyDictionary[nn.Module, Findings] = weakref.WeakKeyDictionary()


def findings_of(module: nn.Module) -> Findings:
    """The findings of a module that is passed without a `Model` around it."""
    return _OF_BARE_MODULES.setdefault(module, Findings())
