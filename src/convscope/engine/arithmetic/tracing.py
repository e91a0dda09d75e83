"""Which operations made a layer's output, and which follow it: read while the network runs.

A layer can be worked out when its own operations are one chain that starts with its input: a convolution, or a
convolution, its norm and its activation. What makes a layer of many chains (a residual block) is worked out part by
part. Numbers are read the moment an operation has run, before the next one may overwrite them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from convscope.engine.arithmetic.evaluate import Operation
from convscope.engine.arithmetic.op_table import FOLLOWING, MOVING, RECIPES
from convscope.engine.network.hooks import first_tensor, on_forward
from convscope.engine.ops.call import Call
from convscope.engine.ops.operation_kinds import IDENTITIES

Chain = list[Operation]


class Watch(TorchFunctionMode):
    """Collects the chain of operations of one layer and of what follows it.

    Args:
        made: called with the layer's chain when it has run, and with each operation that follows.
    """

    def __init__(self, made: Callable[[Chain], None]) -> None:
        super().__init__()
        self.made = made
        self.ran, self.within, self.follows = False, False, False
        self.chain: Chain = []
        self.single = True
        """Whether everything in the layer was one chain."""
        self._current: Tensor | None = None
        self._paused = False
        self._padded: tuple[Call, Tensor] | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        call = Call(func, args, kwargs or {})
        if not (self.within or self.follows) or call.name == "get":
            return call.run()
        given = list(call.tensors())
        call = self._kept(call)
        out = func(*args, **(kwargs or {}))
        result = first_tensor(out)
        if result is not None:
            if self.within:
                self._inside(call, result, given)
            else:
                self._behind(call, result, given)
        return out

    def entered(self, *_: Any) -> None:
        """The layer is about to run."""
        self.ran, self.within, self.follows = True, True, False
        self.chain, self.single, self._current, self._padded = [], True, None, None

    def paused(self, *_: Any) -> None:
        """A weight of the layer is about to be computed from others, which is no step of its arithmetic."""
        self._paused, self.within = self.within, False

    def resumed(self, *_: Any) -> None:
        """The weight is computed."""
        self.within = self._paused

    def left(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        """The layer has run."""
        self.within = False
        self.single = self.single and bool(self.chain) and first_tensor(output) is self._current
        if self.single:
            self.made(self.chain)
            self.follows = True

    def _kept(self, call: Call) -> Call:
        """The call with a copy of what it is about to overwrite, which the chain goes on with."""
        if not call.inplace:
            return call
        place = next(call.tensors())
        copy = place.clone()
        if self.chain and place is self._current:
            last = self.chain[-1]
            self.chain[-1] = Operation(last.call, copy, last.padded)
        return call.replaced(lambda t: copy if t is place else t)

    def _inside(self, call: Call, out: Tensor, given: list[Tensor]) -> None:
        goes_on = self._current is not None and any(t is self._current for t in given)
        if call.name == "pad" and not self.chain:
            self._padded = (call, out)
        elif call.name in IDENTITIES and out.shape == next(call.tensors()).shape:
            self._current = out if goes_on else self._current
        elif call.name in RECIPES or call.name in MOVING:
            padded = self._padded[0] if self._padded and self._padded[1] is next(call.tensors()) else None
            begins = not self.chain or (goes_on and all(one.call.name in MOVING for one in self.chain))
            self.single = self.single and (begins or (goes_on and call.name in {*FOLLOWING, *MOVING}))
            self.chain.append(Operation(call, out, padded))
            self._current = out

    def _behind(self, call: Call, out: Tensor, given: list[Tensor]) -> None:
        assert self._current is not None
        if not any(t is self._current for t in given):
            return
        alike = out.shape == self._current.shape
        if (call.name in FOLLOWING and alike) or call.name in MOVING:
            self.made([Operation(call, out)])
            self._current = out
        elif call.name in IDENTITIES and alike:
            self._current = out
        else:
            self.follows = False


@contextmanager
def watching(module: nn.Module, address: str, made: Callable[[Chain], None]) -> Iterator[Watch]:
    """Watch the layer at ``address`` while the network runs within; a reused layer begins anew at each call."""
    watch = Watch(made)
    layer = module.get_submodule(address)
    handles = [layer.register_forward_pre_hook(watch.entered), on_forward(module, address, watch.left)]
    weights = layer.get_submodule("parametrizations").children() if parametrize.is_parametrized(layer) else ()
    for weight in weights:
        handles += [weight.register_forward_pre_hook(watch.paused), weight.register_forward_hook(watch.resumed)]
    try:
        with watch:
            yield watch
    finally:
        for handle in handles:
            handle.remove()
