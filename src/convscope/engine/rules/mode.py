"""The function mode that looks at every operation of a forward and has a method decide what flows back through it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from convscope.engine.rules.call import Call
from convscope.engine.rules.ledger import Ledger
from convscope.errors import NoRule


class Method(Protocol):
    """What a method of backward rules has to say: what becomes of one operation."""

    out_of_place: bool
    """Whether operations that write to their input must not, because what they would overwrite is still needed."""

    def treat(self, call: Call, mode: "Rules") -> Any:
        """Do the operation so that the right thing flows back through its result."""


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
        self.address = ""
        self.replaced = WeakTensorKeyDictionary()
        """What an in-place operation has made of a tensor: it is left alone, and its successor used from then on."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if getattr(func, "__name__", "") == "__get__" and not isinstance(found := func(*args), Tensor):
            return found  # a shape, a dtype
        call = Call(func, args, kwargs or {}, self.address)
        if self.replaced:
            call = call.replaced(self._latest)
        if not call.carrying():
            return call.run()
        if self.method.out_of_place and call.inplace:
            return self._written(call)
        if not torch.is_grad_enabled():  # a constant to all that follows
            return call.run()
        return self._unknown(call) if call.kind is None else self.method.treat(call, self)

    def missing(self, call: Call, out: Any = None) -> Any:
        """An operation that the method has no rule for, perhaps already done."""
        self.ledger.missing[f"{call.name} in {call.address or 'the network itself'}"] += 1
        if self.on_missing == "error":
            where = f"in layer {call.address!r}" if call.address else "in the network's own forward"
            raise NoRule(
                f"the operation {call.name!r} {where} has no rule, so that what flows back would be a silent mixture; "
                "on_missing='gradient' lets its plain gradient through and says so"
            )
        self.ledger.treat(call.name, "gradient, for want of a rule")
        return call.run() if out is None else out

    @contextmanager
    def within(self, module: nn.Module) -> Iterator[None]:
        """Know the address of the module that runs, while the network runs within."""
        open_modules: list[str] = []
        handles = []

        def enter(address: str) -> Any:
            def hook(*_: Any) -> None:
                open_modules.append(self.address)
                self.address = address

            return hook

        def leave(*_: Any) -> None:
            self.address = open_modules.pop()

        for address, one in module.named_modules():
            if address:
                handles.append(one.register_forward_pre_hook(enter(address)))
                handles.append(one.register_forward_hook(leave, prepend=True))
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _written(self, call: Call) -> Any:
        """Do an in-place operation as a new tensor, which takes the place of what would have been written to."""
        written, fresh = next(call.tensors()), call.out_of_place()
        if call.kind is None or not torch.is_grad_enabled():
            out = self.missing(fresh)
        else:
            out = self.method.treat(fresh, self)
        if out is written:  # dropout in eval mode hands on what it was given
            return out
        whole = whole_of(written)
        if whole is not written:
            changed = _laid_like(whole, self._latest(whole))
            _same_part(changed, written, whole).copy_(out)
            out = changed
        self.replaced[whole] = out
        return self._latest(written)

    def _latest(self, tensor: Tensor) -> Tensor:
        """What a tensor has become since it, or what it is a view of, was written to."""
        whole = latest = whole_of(tensor)
        while latest in self.replaced:
            latest = self.replaced[latest]
        if latest is whole:
            return tensor
        return latest if tensor is whole else _same_part(_laid_like(whole, latest), tensor, whole)

    def _unknown(self, call: Call) -> Any:
        """An operation of no known kind: a question about a tensor, or one that is missing from the tables."""
        if call.inplace:
            return self.missing(call)
        out = call.run()
        made = out if isinstance(out, (tuple, list)) else [out]
        if not any(isinstance(t, Tensor) and t.requires_grad for t in made):
            return out  # a size, a comparison, something detached
        return self.missing(call, out)


def whole_of(tensor: Tensor) -> Tensor:
    """The tensor whose numbers a view shows, or the tensor itself."""
    return tensor._base if tensor._is_view() and tensor._base is not None else tensor


def _laid_like(tensor: Tensor, other: Tensor) -> Tensor:
    """A copy of ``other`` in the memory layout of ``tensor``, so that places in the one are places in the other."""
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=other.dtype, device=other.device).copy_(other)


def _same_part(of: Tensor, part: Tensor, whole: Tensor) -> Tensor:
    """The view of a tensor that ``part`` is of ``whole``."""
    return of.as_strided(part.size(), part.stride(), part.storage_offset() - whole.storage_offset())
