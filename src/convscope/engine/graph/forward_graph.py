"""One recorded forward pass of a model: its operations, its modules, and the dependence of each on the input."""

import functools
import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.context.ports import tensors_of
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.recorder import OperationRecord, Recorder, TensorOrigin
from convscope.engine.network.hooks import first_tensor
from convscope.engine.network.vmap import under_vmap
from convscope.engine.ops.attention_fast_path import without_attention_fast_path
from convscope.errors import InputError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


@dataclass
class LayerCall:
    """The last call of a module: its output, and how often the module ran.

    Attributes:
        operation: the index of the operation that computed its output; None where that does not depend on the input.
        dependence: of its output on each spatial axis of the input; ``batch`` on the batch.
        calls: how often the module ran.
        first: how many operations had run when it first began.
        operations: the indices of the operations that computed its outputs, for all calls.
        earlier: its earlier calls.
        mapped: whether it ran under torch.vmap, where a tensor appears as that of one image.
    """

    shape: tuple[int, ...]
    operation: int | None
    dependence: tuple[Dependence, ...]
    calls: int
    first: int
    batch: Dependence | None = None
    operations: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    earlier: tuple["LayerCall", ...] = ()
    mapped: bool = False


@dataclass
class ForwardGraph:
    """The record of one forward pass of a network.

    Attributes:
        operations: every operation that ran, in order.
        input_shape: the shape of the input.
        layer_calls: by address, in the order of finishing, the last call of each module that ran; the network itself is
            ``""``.
        call_order: every call of every module in the order of finishing: its address and the shape of its output.
        output_operation: the operation that computed the network's output, where ``find_output`` was set; None where
            the output is a constant. ``output_shape`` is its shape; ``last_output`` that of the last image.
        without_flop_count: by kind, how many operations have FLOPs that are not counted.
        without_rule: by kind, how many operations are taken to depend on all they read.
        scripted: modules that show operations but no submodules, since they are scripted or traced.
        without_tensor: modules whose output holds no tensor: by address, the class of the output.
        ports: by address, as in ``conv2:input``, each tensor that a module read or returned at its last call.
    """

    operations: list[OperationRecord]
    input_shape: tuple[int, ...]
    layer_calls: dict[str, LayerCall] = field(default_factory=dict)
    call_order: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    output_operation: int | None = None
    output_shape: tuple[int, ...] = ()
    last_output: Tensor | None = None
    without_flop_count: dict[str, int] = field(default_factory=dict)
    without_rule: dict[str, int] = field(default_factory=dict)
    scripted: tuple[str, ...] = ()
    without_tensor: dict[str, str] = field(default_factory=dict)
    ports: dict[str, LayerCall] = field(default_factory=dict)


def record_graph(
    model: "Model", tensor: Tensor, *, images: int = 1, find_output: bool = False, network_input: Tensor | None = None
) -> ForwardGraph:
    """Run the network once on the first of some inputs and record its operations.

    Args:
        images: how many of the inputs are run.
        find_output: also find the operation that computed the explained output, which must then be a tensor.
        network_input: the inputs in the memory format in which they are run; by default the model chooses it.

    Raises:
        InputError: the network's forward takes more than one input.
        ModelFailed: the network itself raised.
    """
    if model.binding is None:
        _refuse_several_inputs(model)
    recorder = Recorder(model.module)
    network_input = model.input_copy(tensor[:images]) if network_input is None else network_input
    graph = ForwardGraph(recorder.operations, tuple(network_input.shape))
    recorder.start(network_input)
    starts_at_module = model.binding is None  # else the input is no argument of the module, but is turned into some
    modules_recorded = _recording_modules(model.module, recorder, graph, starts_at_module=starts_at_module)
    with torch.no_grad(), without_attention_fast_path(), modules_recorded:
        if find_output:
            output = model.run_recorded(network_input, recorder)
            origin = recorder.origin(output)
            graph.output_operation = None if origin is None else origin.operation
            graph.output_shape = tuple(output.shape)
            graph.last_output = output[-1:].detach().clone()
        else:
            with recorder:
                model.run_module(network_input)
    graph.without_flop_count, graph.without_rule = dict(recorder.without_flop_count), dict(recorder.without_rule)
    return graph


def unobserved(hook: Any) -> Any:
    """A hook whose own tensor operations are hidden from function modes, which would take them for the network's."""

    @functools.wraps(hook)
    def wrapper(*args: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return hook(*args)

    return wrapper


@contextmanager
def _recording_modules(
    module: nn.Module, recorder: Recorder, graph: ForwardGraph, *, starts_at_module: bool
) -> Iterator[None]:
    """Record in the graph which modules run and what they return."""
    first_operations: dict[str, int] = {}

    def pre_hook_for(address: str) -> Any:
        @unobserved
        def hook(_module: nn.Module, args: Any, kwargs: Any) -> None:
            if not address and starts_at_module:  # a forward that starts again is recorded from the beginning
                graph.layer_calls.clear()
                graph.call_order.clear()
                graph.ports.clear()
                recorder.start(args[0])
                first_operations.clear()
            recorder.calls[address] += 1
            first_operations.setdefault(address, len(recorder.operations))
            _record_ports(f"{address}:input", (args, kwargs), recorder, graph)

        return hook

    def hook_for(address: str) -> Any:
        @unobserved
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            tensor = first_tensor(output)
            _record_ports(f"{address}:output", output, recorder, graph)
            if tensor is None:
                graph.without_tensor[address] = type(output).__name__
            else:
                origin = recorder.origin(tensor)
                graph.call_order.append((address, tuple(tensor.shape)))
                previous = graph.layer_calls.pop(address, None)
                graph.layer_calls[address] = _layer_call(
                    tensor, origin, recorder.calls[address], first_operations[address], previous
                )

        return hook

    scripted = []
    with ExitStack() as handles:
        for address, submodule in module.named_modules():
            if isinstance(submodule, torch.jit.ScriptModule):
                scripted.append(address)
                continue
            for handle in (
                # before hooks of the network's own, which may reshape the input that the record starts from
                submodule.register_forward_pre_hook(pre_hook_for(address), with_kwargs=True, prepend=not address),
                submodule.register_forward_hook(hook_for(address)),
            ):
                handles.callback(handle.remove)
        graph.scripted = tuple(a for a in scripted if a.rpartition(".")[0] not in scripted or not a)
        yield


def _layer_call(
    output: Tensor, origin: TensorOrigin | None, calls: int, first: int, previous: LayerCall | None
) -> LayerCall:
    """The record of a module's call, which keeps those of its previous calls."""
    operation, dependence = (None, ()) if origin is None else (origin.operation, origin.dependence)
    return LayerCall(
        tuple(output.shape),
        operation,
        dependence[:-1],
        calls,
        first,
        dependence[-1] if dependence else None,
        (*(previous.operations if previous else ()), *(() if operation is None else (operation,))),
        output.dtype,
        () if previous is None else (*previous.earlier, replace(previous, earlier=())),
        mapped=under_vmap(),
    )


def _record_ports(name: str, values: Any, recorder: Recorder, graph: ForwardGraph) -> None:
    """Record each of the tensors that a module reads or returns."""
    for number, tensor in enumerate(tensors_of(values)):
        origin = recorder.origin(tensor)
        graph.ports[f"{name}{number or ''}"] = LayerCall(
            tuple(tensor.shape),
            None if origin is None else origin.operation,
            () if origin is None else origin.dependence[:-1],
            1,
            0,
            None if origin is None else origin.dependence[-1],
            (),
            tensor.dtype,
        )


def _refuse_several_inputs(model: "Model") -> None:
    if isinstance(model.module, torch.jit.ScriptModule):
        return
    try:
        parameters = inspect.signature(model.module.forward).parameters.values()
    except (TypeError, ValueError):
        return
    empty = inspect.Parameter.empty
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p.name for p in parameters if p.default is empty and p.kind in positional]
    if len(required) > 1:
        raise InputError(
            f"{model.name} takes {len(required)} inputs ({', '.join(required)}) and is given one: describe them with "
            f"cs.Model(…, inputs={{{', '.join(f'{name!r}: …' for name in required)}}})"
        )
