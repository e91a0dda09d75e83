"""One forward of a model, recorded: its operations, its modules, and what of the input each of them sees."""

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
from convscope.engine.graph.recorder import Recorder, Step
from convscope.engine.network.hooks import first_tensor
from convscope.engine.network.vmap import under_vmap
from convscope.errors import InputError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


@dataclass
class Visit:
    """What a module gave when it ran last, and how often it ran.

    Attributes:
        step: the operation that made its output; None where the output does not depend on the input. ``steps`` those of
            all of its calls. ``earlier`` what it gave at each call before.
        seen: what its output sees along each spatial axis of the input; ``batch`` along the batch.
        first: how many operations had run when it first began.
        mapped: whether it ran under torch.vmap, where a tensor shows itself as that of one image.
    """

    shape: tuple[int, ...]
    step: int | None
    seen: tuple[Dependence, ...]
    calls: int
    first: int
    batch: Dependence | None = None
    steps: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    earlier: tuple["Visit", ...] = ()
    mapped: bool = False


@dataclass
class Graph:
    """What one forward showed of a network.

    Attributes:
        visits: by address, in the order of finishing, what each module that ran gave; the network itself is ``""``.
        finished: every call of every module in the order of finishing: its address and the shape of its output.
        output: the operation that made the selected output, where one was selected; None where it is a constant.
        input: the shape of the input.
        output_shape: the shape of the selected output; ``last_output`` that of the last image.
        without_tensor: modules that give something else than tensors, by address its class.
        ports: by address, as in ``conv2:input``, what each tensor was that a module took or gave at its last call.
        hidden: modules whose insides show operations but no modules, since they are scripted or traced.
        memory: bytes of all results that were kept in memory of their own.
    """

    steps: list[Step]
    input: tuple[int, ...]
    visits: dict[str, Visit] = field(default_factory=dict)
    finished: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    output: int | None = None
    output_shape: tuple[int, ...] = ()
    last_output: Tensor | None = None
    uncounted: dict[str, int] = field(default_factory=dict)
    guessed: dict[str, int] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    without_tensor: dict[str, str] = field(default_factory=dict)
    ports: dict[str, Visit] = field(default_factory=dict)


def recorded(
    model: "Model", tensor: Tensor, *, images: int = 1, selected: bool = False, laid: Tensor | None = None
) -> Graph:
    """Run the network once on the first of some inputs and write down what it does.

    Args:
        images: how many of the inputs are run.
        selected: also note which operation made the output that is explained, which must then be a tensor.
        laid: the inputs as they are to lie in memory, where that is not left to the model.

    Raises:
        InputError: the network's forward asks for more than one input.
        ModelFailed: the network itself raised.
    """
    _refuse_several_inputs(model)
    recorder = Recorder(model.module)
    laid = model.laid_out(tensor[:images]) if laid is None else laid
    graph = Graph(recorder.steps, tuple(laid.shape))
    recorder.begin(laid)
    with torch.no_grad(), _attention_in_full(), _watching(model.module, recorder, graph):
        if selected:
            output = model.run_recorded(laid, recorder)
            mark = recorder.mark(output)
            graph.output, graph.output_shape = None if mark is None else mark.step, tuple(output.shape)
            graph.last_output = output[-1:].detach().clone()
        else:
            with recorder:
                model.run_plainly(laid)
    graph.uncounted, graph.guessed = dict(recorder.uncounted), dict(recorder.guessed)
    return graph


def unwatched(hook: Any) -> Any:
    """A hook whose own looks at tensors no function mode takes for the network's."""

    @functools.wraps(hook)
    def quiet(*args: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return hook(*args)

    return quiet


@contextmanager
def _watching(module: nn.Module, recorder: Recorder, graph: Graph) -> Iterator[None]:
    """Have the graph know which modules run and what they give."""
    begun: dict[str, int] = {}

    def arriving(address: str) -> Any:
        @unwatched
        def hook(_module: nn.Module, inputs: Any, named: Any) -> None:
            if not address:  # a forward that is begun again shows itself anew
                graph.visits.clear()
                graph.finished.clear()
                graph.ports.clear()
                recorder.begin(inputs[0])
                begun.clear()
            recorder.calls[address] += 1
            begun.setdefault(address, len(recorder.steps))
            _at_ports(f"{address}:input", (inputs, named), recorder, graph)

        return hook

    def leaving(address: str) -> Any:
        @unwatched
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            made = first_tensor(output)
            _at_ports(f"{address}:output", output, recorder, graph)
            if made is None:
                graph.without_tensor[address] = type(output).__name__
            else:
                mark = recorder.mark(made)
                before = graph.visits.pop(address, None)
                step, seen = (None, ()) if mark is None else (mark.step, mark.seen)
                graph.finished.append((address, tuple(made.shape)))
                graph.visits[address] = Visit(
                    tuple(made.shape),
                    step,
                    seen[:-1],
                    recorder.calls[address],
                    begun[address],
                    seen[-1] if seen else None,
                    (*(before.steps if before else ()), *(() if step is None else (step,))),
                    made.dtype,
                    () if before is None else (*before.earlier, replace(before, earlier=())),
                    mapped=under_vmap(),
                )

        return hook

    hidden = []
    with ExitStack() as handles:
        for address, one in module.named_modules():
            if isinstance(one, torch.jit.ScriptModule):
                hidden.append(address)
                continue
            for handle in (
                one.register_forward_pre_hook(arriving(address), with_kwargs=True),
                one.register_forward_hook(leaving(address)),
            ):
                handles.callback(handle.remove)
        graph.hidden = tuple(a for a in hidden if a.rpartition(".")[0] not in hidden or not a)
        yield


def _at_ports(name: str, things: Any, recorder: Recorder, graph: Graph) -> None:
    """Write down what the tensors are that a module takes or gives."""
    for number, tensor in enumerate(tensors_of(things)):
        mark = recorder.mark(tensor)
        graph.ports[f"{name}{number or ''}"] = Visit(
            tuple(tensor.shape),
            None if mark is None else mark.step,
            () if mark is None else mark.seen[:-1],
            1,
            0,
            None if mark is None else mark.seen[-1],
            (),
            tensor.dtype,
        )


@contextmanager
def _attention_in_full() -> Iterator[None]:
    """Have ``nn.MultiheadAttention`` run as the operations it is made of, not as one that nothing is known of."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _refuse_several_inputs(model: "Model") -> None:
    if isinstance(model.module, torch.jit.ScriptModule):
        return
    try:
        parameters = inspect.signature(model.module.forward).parameters.values()
    except (TypeError, ValueError):
        return
    empty = inspect.Parameter.empty
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    wanted = [p.name for p in parameters if p.default is empty and p.kind in positional]
    if len(wanted) > 1:
        raise InputError(
            f"{model.name} takes {len(wanted)} inputs ({', '.join(wanted)}) and is given one: wrap it in a module "
            "whose forward takes one tensor and fills in the rest"
        )
