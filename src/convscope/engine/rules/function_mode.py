"""The function mode that intercepts every operation of a forward pass and lets a method define its backward pass."""

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from convscope.engine.network.vmap import UNDER_VMAP, under_vmap
from convscope.engine.ops.aten_spelling import torch_spelling
from convscope.engine.ops.call import Call
from convscope.engine.ops.module_of_call import ModuleLocator
from convscope.engine.ops.operation_kinds import OperationKind, operation_kind, operation_name
from convscope.engine.rules.composed_activations import TRACKED, ElementwiseTracker
from convscope.engine.rules.rule_log import RuleLog
from convscope.errors import NoRule

_CHECKPOINTED = (
    "it recomputes parts of itself in the backward pass (torch.utils.checkpoint), where rules cannot be applied: "
    "switch checkpointing off"
)


class BackwardMethod(Protocol):
    """What a method of backward rules defines: how to treat one operation."""

    out_of_place: bool
    """Whether in-place operations are replaced by out-of-place ones, because what they overwrite is still needed."""
    skipped_kinds: frozenset[OperationKind]
    """Kinds of operation that run unchanged and need not be intercepted."""

    def apply(self, call: Call, mode: "RuleMode") -> Any:
        """Run the operation such that the method's multiplier flows back through its result."""


_WITHOUT_CUSTOM_FUNCTIONS: weakref.WeakKeyDictionary[nn.Module, tuple[Any, ...]] = weakref.WeakKeyDictionary()
"""Networks whose autograd graph was searched for custom functions, with the types of their modules.

The search takes a tenth of the time of a forward pass.
"""


class RuleMode(TorchFunctionMode):
    """Runs a network under the rules of a method.

    Args:
        method: how to treat each kind of operation.
        rule_log: where to record what was done.
        on_missing: ``error`` refuses an operation that has no rule, ``gradient`` uses its plain gradient.
    """

    def __init__(self, method: BackwardMethod, rule_log: RuleLog, *, on_missing: str = "error") -> None:
        super().__init__()
        self.method, self.rule_log, self.on_missing = method, rule_log, on_missing
        self._where: Callable[[], str] = str
        self.decomposes_operations = getattr(method, "decomposes_operations", False)
        """Whether operations are computed by other ones, so that modes below this one do not see their kind."""
        self.replaced = WeakTensorKeyDictionary()
        """Tensors that an in-place operation would have changed → the tensors that are used in their place."""
        self.elementwise = ElementwiseTracker()
        """Recognizes activations that are written as several operations."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        func, args = torch_spelling(func, args, kwargs or {})
        if (
            operation_kind(func) in self.method.skipped_kinds
            and not self.replaced
            and operation_name(func)[0] not in TRACKED
        ):
            return func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "__get__" and not isinstance(value := func(*args), Tensor):
            return value  # a shape, a dtype
        if under_vmap():
            raise NoRule(f"{self._where() or 'the network'} {UNDER_VMAP}")
        original = call = Call(func, args, kwargs or {}, self._where)
        if self.replaced:
            call = original.replaced(self.latest)
        if not call.tensors_requiring_grad() or not torch.is_grad_enabled():  # the output is a constant
            if self.method.out_of_place and call.inplace and call.tensors_requiring_grad():
                return self._run_out_of_place(next(original.tensors()), call)
            out = call.run()
            self.elementwise.record(call, out)
            return out
        if self.method.out_of_place and call.inplace:
            return self._run_out_of_place(next(original.tensors()), call)
        return self._apply_method(call)

    def _apply_method(self, call: Call) -> Any:
        """Run an operation that depends on the input as the method defines."""
        call = self.elementwise.rewrite(call)
        if _is_unbatched(call):
            return self._apply_method(_with_batch_axis(call)).squeeze(0)
        out = self._run_unknown(call) if call.kind is None else self.method.apply(call, self)
        self.elementwise.record(call, out)
        return out

    def missing(self, call: Call, out: Any = None, reason: str = "has no rule") -> Any:
        """Treat an operation for which the method has no rule; ``out`` is its output if it was already run."""
        self.rule_log.missing[f"{call.name} in {call.address or 'the network itself'}"] += 1
        if self.on_missing == "error":
            location = f"in layer {call.address!r}" if call.address else "in the network's own forward"
            raise NoRule(
                f"the operation {call.name!r} {location} {reason}, so that the result would silently mix rules with "
                "plain gradients; on_missing='gradient' uses its plain gradient and says so in the notes"
            )
        self.rule_log.count(call.name, "gradient (no rule)")
        return call.run() if out is None else out

    def run_network(self, run: Callable[[], Tensor], module: nn.Module) -> Tensor:
        """The output of ``run()``, which runs a network, under the rules.

        Raises:
            NoRule: the network recomputes parts of itself in the backward pass, where no mode is active.
        """
        self._where = ModuleLocator(module)
        with self, torch.autograd.graph.disable_saved_tensors_hooks(_CHECKPOINTED):
            output = run()
        output = self.latest(output)  # outside the mode, which would intercept access to a view's base
        kinds = (tuple(output.shape), *map(type, module.modules()))
        if _WITHOUT_CUSTOM_FUNCTIONS.get(module) != kinds:
            self._find_custom_functions(output)
            if not self.rule_log.missing:
                _WITHOUT_CUSTOM_FUNCTIONS[module] = kinds
        return output

    def _find_custom_functions(self, output: Tensor) -> None:
        """Report the network's own ``autograd.Function``s, which no mode intercepts, from the autograd graph."""
        nodes, visited = [output.grad_fn], set()
        while nodes:
            node = nodes.pop()
            if node is None or node in visited:
                continue
            visited.add(node)
            nodes += [following for following, _ in node.next_functions]
            function = getattr(node, "_forward_cls", None)
            if function is not None and not function.__module__.startswith("convscope."):
                self.missing(Call(function, (), {}), out=output)

    def latest(self, tensor: Tensor) -> Tensor:
        """The current version of a tensor: changed if it, or the tensor of which it is a view, was written to."""
        base = _base_of(tensor)
        current = self._current(base)
        if current is base:
            return tensor
        return current if tensor is base else _same_view(_with_strides_of(base, current), tensor, base)

    def _current(self, base: Tensor) -> Tensor:
        while base in self.replaced:
            base = self.replaced[base]
        return base

    def _run_out_of_place(self, destination: Tensor, call: Call) -> Any:
        """Run an operation that writes to ``destination`` so that a new tensor is used in its place from then on."""
        value, call = next(call.tensors()), call.out_of_place()
        known = call.kind is not None and torch.is_grad_enabled()
        out = self._apply_method(call) if known else self.missing(call)
        if out is value:  # dropout in eval mode returns its input
            return out
        base = _base_of(destination)
        current = self._current(base)
        if base is destination:
            self.replaced[current] = out
            return out
        changed = _with_strides_of(base, current, copy=True)
        view = _same_view(changed, destination, base)
        view.copy_(out)
        self.replaced[current] = changed
        return view

    def _run_unknown(self, call: Call) -> Any:
        """An operation of unknown kind: either a query about a tensor, or an operation that has no rule."""
        if call.inplace:
            return self.missing(call)
        out = call.run()
        outputs = out if isinstance(out, (tuple, list)) else [out]
        if not any(isinstance(t, Tensor) and t.requires_grad for t in outputs):
            return out  # a size, a comparison, a detached tensor
        return self.missing(call, out)


def _base_of(tensor: Tensor) -> Tensor:
    """The tensor of which this one is a view, or the tensor itself."""
    return tensor._base if tensor._is_view() and tensor._base is not None else tensor


def _with_strides_of(tensor: Tensor, other: Tensor, *, copy: bool = False) -> Tensor:
    """``other`` in the memory layout of ``tensor``, so that offsets in one are offsets in the other."""
    if not copy and other.stride() == tensor.stride() and other.storage_offset() == tensor.storage_offset():
        return other
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=other.dtype, device=other.device).copy_(other)


def _same_view(tensor: Tensor, view: Tensor, base: Tensor) -> Tensor:
    """The view of ``tensor`` that corresponds to ``view`` of ``base``."""
    offset = tensor.storage_offset() + view.storage_offset() - base.storage_offset()
    return tensor.as_strided(view.size(), view.stride(), offset)


def _is_unbatched(call: Call) -> bool:
    """Whether this is a convolution of a single image without a batch dimension."""
    if not call.name.startswith("conv") or call.kind != "affine":
        return False
    x, weight = call.argument(0, "input"), call.argument(1, "weight")
    return bool(x.ndim == weight.ndim - 1)


def _with_batch_axis(call: Call) -> Call:
    """The same convolution of a batch of one image."""
    x = call.argument(0, "input")
    return call.replaced(lambda tensor: x.unsqueeze(0) if tensor is x else tensor)
