"""Finding the operations that computed a layer's output, and those that follow it, while the network runs.

A layer can be evaluated when its own operations form one chain that starts with its input: a convolution, or a
convolution, its norm and its activation. Layers of several chains (residual blocks) are evaluated part by part. Values
are read as soon as an operation has run, before the next one may overwrite them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from convscope.engine.arithmetic.evaluation import ExecutedOperation
from convscope.engine.arithmetic.op_table import EVALUATORS, FOLLOWING, REARRANGING
from convscope.engine.network.hooks import first_tensor, on_forward
from convscope.engine.ops.aten_spelling import torch_spelling
from convscope.engine.ops.call import Call
from convscope.engine.ops.operation_kinds import IDENTITIES

OperationChain = list[ExecutedOperation]


class OperationTracer(TorchFunctionMode):
    """Collects the chain of operations of one layer and of those that follow it.

    Args:
        on_chain: called with the layer's chain when it has run, and with each operation that follows.

    Attributes:
        ran: whether the layer has run; ``within`` whether it is running.
        follows: whether operations after the layer are being followed.
        single: whether everything in the layer was one chain.
    """

    def __init__(self, on_chain: Callable[[OperationChain], None]) -> None:
        super().__init__()
        self.on_chain = on_chain
        self.ran, self.within, self.follows = False, False, False
        self.chain: OperationChain = []
        self.single = True
        self._current: Tensor | None = None
        self._was_within = False
        self._padding: tuple[Call, Tensor] | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        func, args = torch_spelling(func, args, kwargs or {})
        call = Call(func, args, kwargs or {})
        if not (self.within or self.follows) or call.name == "get":
            return call.run()
        inputs = list(call.tensors())
        call = self._with_copied_input(call)
        result = func(*args, **(kwargs or {}))
        output = first_tensor(result)
        if output is not None:
            if self.within:
                self._add_within(call, output, inputs)
            else:
                self._add_following(call, output, inputs)
        return result

    def enter_layer(self, *_: Any) -> None:
        """Pre-forward hook of the layer."""
        self.ran, self.within, self.follows = True, True, False
        self.chain, self.single, self._current, self._padding = [], True, None, None

    def pause(self, *_: Any) -> None:
        """Pre-forward hook of a parametrization: computing a weight is no step of the layer's arithmetic."""
        self._was_within, self.within = self.within, False

    def resume(self, *_: Any) -> None:
        """Forward hook of a parametrization."""
        self.within = self._was_within

    def leave_layer(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        """Forward hook of the layer."""
        self.within = False
        self.single = self.single and bool(self.chain) and first_tensor(output) is self._current
        if self.single:
            self.on_chain(self.chain)
            self.follows = True

    def _with_copied_input(self, call: Call) -> Call:
        """The call with a copy of the tensor it is about to overwrite, which replaces it in the chain."""
        if not call.inplace:
            return call
        overwritten = next(call.tensors())
        copy = overwritten.clone()
        if self.chain and overwritten is self._current:
            last = self.chain[-1]
            self.chain[-1] = ExecutedOperation(last.call, copy, last.padding_call)
        return call.replaced(lambda t: copy if t is overwritten else t)

    def _add_within(self, call: Call, output: Tensor, inputs: list[Tensor]) -> None:
        continues = self._current is not None and any(t is self._current for t in inputs)
        if call.name == "pad" and not self.chain:
            self._padding = (call, output)
        elif call.name in IDENTITIES and output.shape == next(call.tensors()).shape:
            self._current = output if continues else self._current
        elif call.name in EVALUATORS or call.name in REARRANGING:
            padding_call = self._padding[0] if self._padding and self._padding[1] is next(call.tensors()) else None
            starts = not self.chain or (
                continues and all(operation.call.name in REARRANGING for operation in self.chain)
            )
            self.single = self.single and (starts or (continues and call.name in {*FOLLOWING, *REARRANGING}))
            self.chain.append(ExecutedOperation(call, output, padding_call))
            self._current = output

    def _add_following(self, call: Call, output: Tensor, inputs: list[Tensor]) -> None:
        assert self._current is not None
        if not any(t is self._current for t in inputs):
            return
        same_shape = output.shape == self._current.shape
        if (call.name in FOLLOWING and same_shape) or call.name in REARRANGING:
            self.on_chain([ExecutedOperation(call, output)])
            self._current = output
        elif call.name in IDENTITIES and same_shape:
            self._current = output
        else:
            self.follows = False


@contextmanager
def tracing(module: nn.Module, address: str, on_chain: Callable[[OperationChain], None]) -> Iterator[OperationTracer]:
    """Trace the layer at ``address`` while the network runs; a reused layer starts again at each call."""
    tracer = OperationTracer(on_chain)
    layer = module.get_submodule(address)
    handles = [layer.register_forward_pre_hook(tracer.enter_layer), on_forward(module, address, tracer.leave_layer)]
    weights = layer.get_submodule("parametrizations").children() if parametrize.is_parametrized(layer) else ()
    for weight in weights:
        handles += [weight.register_forward_pre_hook(tracer.pause), weight.register_forward_hook(tracer.resume)]
    try:
        with tracer:
            yield tracer
    finally:
        for handle in handles:
            handle.remove()
