"""The function mode that hands every operation that mixes values by attention weights to a reader.

The network's own forward runs; nothing in it is replaced. ``nn.MultiheadAttention`` runs as the separate operations of
which its function consists, so that these are seen as well.
"""

import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from convscope.engine.attention.operations import AttentionOperation, FusedAttention, WeightedSum
from convscope.engine.attention.softmax_tracking import SoftmaxTracker
from convscope.engine.ops.aten_spelling import torch_spelling
from convscope.engine.ops.attention_fast_path import without_attention_fast_path
from convscope.engine.ops.call import Call
from convscope.engine.ops.module_of_call import ModuleLocator

Reader = Callable[[AttentionOperation], Any]
"""Runs an operation that attends, reads what it needs, and returns the operation's output."""

_FUSED = "scaled_dot_product_attention"


class AttentionMode(TorchFunctionMode):
    """Calls ``reader`` in place of every operation that attends.

    Attributes:
        unread: by the address of a module, why something in it that looks like attention is not read.
    """

    def __init__(self, module: nn.Module, reader: Reader) -> None:
        super().__init__()
        self.reader, self.unread = reader, dict[str, str]()
        self._where = ModuleLocator(module)
        self._softmaxes = SoftmaxTracker()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func is F.multi_head_attention_forward:
            with self:
                return _multi_head_operations(*args, **(kwargs or {}))
        func, args = torch_spelling(func, args, kwargs or {})
        call = Call(func, args, kwargs or {}, self._where)
        operation = FusedAttention(call) if call.name == _FUSED else self._softmaxes.weighted_sum(call)
        if isinstance(operation, FusedAttention | WeightedSum):
            if len(operation.shape) > 2:
                return self.reader(operation)
            self.unread[call.address] = "its weights have two dimensions, of which none is known to be that of images"
        elif operation is not None:
            self.unread[call.address] = operation
        elif "attention" in call.name or "attn" in call.name:
            self.unread[call.address] = f"the operation {call.name!r} returns no weights"
        if isinstance(func, HigherOrderOperator):
            with _disable_current_modes():  # modes that record operations do not know those that call functions
                return call.run()
        output = call.run()
        self._softmaxes.record(call, output)
        return output


@contextmanager
def reading_attention(module: nn.Module, reader: Reader) -> Iterator[AttentionMode]:
    """Hand every operation of the network that attends to ``reader``, while it runs inside the context."""
    with without_attention_fast_path(), AttentionMode(module, reader) as mode:
        yield mode


def differentiable(weights: Tensor) -> Tensor:
    """Weights to which a gradient can be formed; the graph begins here if nothing before has one."""
    torch.set_grad_enabled(True)
    return weights if weights.requires_grad else weights.detach().requires_grad_(True)


def _without_override_check(function: Any) -> Any:
    """A function of ``torch.nn.functional`` that runs its body although a function mode is active.

    The function hands itself to the mode before it does anything else, so that its operations could never be seen.
    """
    namespace = {**vars(F), "has_torch_function": lambda _tensors: False}
    body = types.FunctionType(
        function.__code__, namespace, function.__name__, function.__defaults__, function.__closure__
    )
    body.__kwdefaults__ = function.__kwdefaults__
    return body


_multi_head_operations = _without_override_check(F.multi_head_attention_forward)
