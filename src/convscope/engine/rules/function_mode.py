"""The function mode that looks at every operation of a forward and has a method decide what flows back through it."""

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from convscope.engine.network.vmap import UNDER_VMAP, under_vmap
from convscope.engine.ops.call import Call
from convscope.engine.ops.module_of_call import Whereabouts
from convscope.engine.ops.operation_kinds import Kind, kind_of, name_of
from convscope.engine.rules.elementwise import SEEN, Elementwise
from convscope.engine.rules.ledger import Ledger
from convscope.errors import NoRule

_CHECKPOINTED = (
    "it recomputes parts of itself on the way back (torch.utils.checkpoint), where rules cannot see them: switch "
    "checkpointing off"
)


class Method(Protocol):
    """What a method of backward rules has to say: what becomes of one operation."""

    out_of_place: bool
    """Whether operations that write to their input must not, because what they would overwrite is still needed."""
    as_it_is: frozenset[Kind]
    """Kinds of operation that need not be looked at."""

    def treat(self, call: Call, mode: "Rules") -> Any:
        """Do the operation so that the right thing flows back through its result."""


_WITHOUT_FUNCTIONS: weakref.WeakKeyDictionary[nn.Module, tuple[Any, ...]] = weakref.WeakKeyDictionary()
"""Networks whose way back was looked over, by the kinds of their modules: it takes as long as a tenth of a forward."""


class Rules(TorchFunctionMode):
    """Runs a network under the rules of a method.

    Args:
        method: what to do with each kind of operation.
        ledger: where to write down what was done.
        on_missing: ``error`` refuses an operation that has no rule, ``gradient`` lets its plain gradient through.
    """

    def __init__(self, method: Method, ledger: Ledger, *, on_missing: str = "error") -> None:
        super().__init__()
        self.method, self.ledger, self.on_missing = method, ledger, on_missing
        self._where: Callable[[], str] = str
        self.takes_apart = getattr(method, "takes_apart", False)
        """Whether operations are done in other steps, so that their kind is not seen below."""
        self.replaced = WeakTensorKeyDictionary()
        """What an in-place operation has made of a tensor: it is left alone, and its successor used from then on."""
        self.elementwise = Elementwise()
        """Activations that are written as several operations."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if kind_of(func) in self.method.as_it_is and not self.replaced and name_of(func)[0] not in SEEN:
            return func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "__get__" and not isinstance(found := func(*args), Tensor):
            return found  # a shape, a dtype
        if under_vmap():
            raise NoRule(f"{self._where() or 'the network'} {UNDER_VMAP}")
        asked = call = Call(func, args, kwargs or {}, self._where)
        if self.replaced:
            call = asked.replaced(self.latest)
        if not call.carrying() or not torch.is_grad_enabled():  # a constant to all that follows
            if self.method.out_of_place and call.inplace and call.carrying():
                return self._written(next(asked.tensors()), call)
            out = call.run()
            self.elementwise.note(call, out)
            return out
        if self.method.out_of_place and call.inplace:
            return self._written(next(asked.tensors()), call)
        return self._treated(call)

    def _treated(self, call: Call) -> Any:
        """An operation that depends on the input, written as its parts or as one."""
        call = self.elementwise.rewritten(call)
        if _is_unbatched(call):
            return self._treated(_as_a_batch(call)).squeeze(0)
        out = self._unknown(call) if call.kind is None else self.method.treat(call, self)
        self.elementwise.note(call, out)
        return out

    def missing(self, call: Call, out: Any = None, why: str = "has no rule") -> Any:
        """An operation that the method has no rule for, perhaps already done."""
        self.ledger.missing[f"{call.name} in {call.address or 'the network itself'}"] += 1
        if self.on_missing == "error":
            where = f"in layer {call.address!r}" if call.address else "in the network's own forward"
            raise NoRule(
                f"the operation {call.name!r} {where} {why}, so that what flows back would be a silent mixture; "
                "on_missing='gradient' lets its plain gradient through and says so"
            )
        self.ledger.treat(call.name, "gradient, for want of a rule")
        return call.run() if out is None else out

    def seen_by(self, run: Callable[[], Tensor], module: nn.Module) -> Tensor:
        """What ``run()``, which runs a network, gives under the rules.

        Raises:
            NoRule: the network recomputes parts on the way back, where no mode is on.
        """
        self._where = Whereabouts(module)
        with self, torch.autograd.graph.disable_saved_tensors_hooks(_CHECKPOINTED):
            output = run()
        output = self.latest(output)  # no longer under the mode, to which a view's base is an operation
        kinds = (tuple(output.shape), *map(type, module.modules()))
        if _WITHOUT_FUNCTIONS.get(module) != kinds:
            self._own_functions(output)
            if not self.ledger.missing:
                _WITHOUT_FUNCTIONS[module] = kinds
        return output

    def _own_functions(self, output: Tensor) -> None:
        """A network's own ``autograd.Function`` is no operation that a mode could see, but its way back shows it."""
        todo, seen = [output.grad_fn], set()
        while todo:
            node = todo.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            todo += [following for following, _ in node.next_functions]
            made_by = getattr(node, "_forward_cls", None)
            if made_by is not None and not made_by.__module__.startswith("convscope."):
                self.missing(Call(made_by, (), {}), out=output)

    def latest(self, tensor: Tensor) -> Tensor:
        """What a tensor has become since it, or what it is a view of, was written to."""
        whole = _whole(tensor)
        end = self._end(whole)
        if end is whole:
            return tensor
        return end if tensor is whole else _same_part(_laid_like(whole, end), tensor, whole)

    def _end(self, whole: Tensor) -> Tensor:
        while whole in self.replaced:
            whole = self.replaced[whole]
        return whole

    def _written(self, place: Tensor, call: Call) -> Any:
        """Do an operation that writes to ``place`` as a new tensor, which is used in its stead from then on."""
        now, fresh = next(call.tensors()), call.out_of_place()
        known = call.kind is not None and torch.is_grad_enabled()
        out = self._treated(fresh) if known else self.missing(fresh)
        if out is now:  # dropout in eval mode hands on what it was given
            return out
        whole = _whole(place)
        end = self._end(whole)
        if whole is place:
            self.replaced[end] = out
            return out
        changed = _laid_like(whole, end, anew=True)
        part = _same_part(changed, place, whole)
        part.copy_(out)
        self.replaced[end] = changed
        return part

    def _unknown(self, call: Call) -> Any:
        """An operation of no known kind: a question about a tensor, or one that is missing from the tables."""
        if call.inplace:
            return self.missing(call)
        out = call.run()
        made = out if isinstance(out, (tuple, list)) else [out]
        if not any(isinstance(t, Tensor) and t.requires_grad for t in made):
            return out  # a size, a comparison, something detached
        return self.missing(call, out)


def _whole(tensor: Tensor) -> Tensor:
    """The tensor whose numbers a view shows, or the tensor itself."""
    return tensor._base if tensor._is_view() and tensor._base is not None else tensor


def _laid_like(tensor: Tensor, other: Tensor, *, anew: bool = False) -> Tensor:
    """``other`` in the memory layout of ``tensor``, so that places in the one are places in the other."""
    if not anew and other.stride() == tensor.stride() and other.storage_offset() == tensor.storage_offset():
        return other
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=other.dtype, device=other.device).copy_(other)


def _same_part(of: Tensor, part: Tensor, whole: Tensor) -> Tensor:
    """The view of a tensor that ``part`` is of ``whole``."""
    offset = of.storage_offset() + part.storage_offset() - whole.storage_offset()
    return of.as_strided(part.size(), part.stride(), offset)


def _is_unbatched(call: Call) -> bool:
    """Whether a convolution is done to a single image without a dimension for the batch."""
    if not call.name.startswith("conv") or call.kind != "affine":
        return False
    x, weight = call.argument(0, "input"), call.argument(1, "weight")
    return bool(x.ndim == weight.ndim - 1)


def _as_a_batch(call: Call) -> Call:
    """The same convolution of a batch of one image."""
    x = call.argument(0, "input")
    return call.replaced(lambda tensor: x.unsqueeze(0) if tensor is x else tensor)
