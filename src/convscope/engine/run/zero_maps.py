"""Why a map is zero everywhere, determined by a few more passes once a map is zero.

A zero gradient does not mean that the score is constant: rounding, comparisons, ``argmax``, integers, ``detach`` and
``torch.no_grad`` pass no gradient. The gradient is therefore formed once more while such operations are recorded, and
the score is compared with that of a perturbed input (or layer). The reason states what these passes showed.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.trace import call_count
from convscope.engine.network.hooks import capture, first_tensor, replace_output
from convscope.engine.network.model import Model
from convscope.engine.ops.module_of_call import ModuleLocator
from convscope.engine.run.gradients import score
from convscope.engine.targets.target import Target
from convscope.errors import ConvScopeError
from convscope.values.facts import Fact

_STEP_FUNCTIONS = frozenset(("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside"))
"""Operations that stay on the graph and whose derivative is zero wherever it exists."""
_WITHOUT_VALUES = frozenset({
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros", "new_ones",
    "new_empty", "new_full", "new_tensor", "is_same_size", "isnan", "isinf", "isfinite", "view_as", "reshape_as",
    "expand_as", "type_as",
})  # fmt: skip
"""Operations that use only the shape or type of a tensor, or only check it."""
_TO_NUMBERS = frozenset(("item", "tolist", "float", "int", "bool", "numpy"))
_DATA = Tensor.data.__get__  # type: ignore[attr-defined]
_FUNCTIONS = str(Path(torch.__file__).parent / "autograd" / "function.py")
_MAX_NAMED = 3

WITHOUT_GRADIENT = Fact("lenses that need no gradient, such as occlusion or rise, show what it depends on")


class _GradientStops(TorchFunctionMode):
    """Records operations whose operands carry a gradient and whose result does not."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module_of_call = ModuleLocator(module)
        self.named: list[Fact] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        operands = [*args, *(kwargs or {}).values()]
        carries_gradient = any(isinstance(operand, Tensor) and operand.requires_grad for operand in operands)
        result = func(*args, **(kwargs or {}))
        if carries_gradient:
            self._inspect(func, result, kwargs or {})
        return result

    def _inspect(self, func: Any, result: Any, kwargs: Mapping[str, Any]) -> None:
        name = "data" if func == _DATA else str(getattr(func, "__name__", func)).strip("_")
        tensor = first_tensor(result)
        stops = name in _TO_NUMBERS if tensor is None else not tensor.requires_grad
        if (
            name in _WITHOUT_VALUES
            or not (stops or name in _STEP_FUNCTIONS or kwargs.get("rounding_mode"))
            or _in_own_function()
        ):
            return
        layer = self._module_of_call()
        where = Fact("layer {layer}", layer=repr(layer)) if layer else Fact("its own forward")
        under_no_grad = tensor is not None and not torch.is_grad_enabled()
        operation = (
            Fact("what runs under torch.no_grad inside {where}", where=where)
            if under_no_grad
            else Fact("{operation} in {where}", operation=repr(name), where=where)
        )
        if operation not in self.named:
            self.named.append(operation)

    def words(self) -> str:
        """The operations in the order in which they ran; empty if there are none."""
        first, more = self.named[:_MAX_NAMED], len(self.named) - _MAX_NAMED
        if more > 0:
            return Fact("{first} and {more} more", first=first, more=more)
        return Fact("{items}", items=first) if first else ""


def _in_own_function() -> bool:
    """Whether the forward of an autograd function runs: nothing inside is on the graph, yet gradients may pass."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == _FUNCTIONS:
            return True
        frame = frame.f_back
    return False


def _own_functions(scores: Tensor) -> list[str]:
    """The names of the custom autograd functions on the graph of a score."""
    names: dict[str, None] = {}
    waiting, visited = [scores.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if isinstance(node, BackwardCFunction):
            names[node.name().removesuffix("Backward")] = None
        waiting += [following for following, _ in node.next_functions]
    return list(names)


@dataclass
class _Probe:
    """One forward and backward pass.

    Attributes:
        score: the explained number.
        gradient: its gradient to the input or the layer, if there is one.
        values: the input or the activation itself.
        stops: operations that pass no gradient.
        own_functions: custom autograd functions on the path.
    """

    score: float
    gradient: Tensor | None
    values: Tensor
    stops: str = ""
    own_functions: tuple[str, ...] = ()

    @property
    def has_zero_gradient(self) -> bool:
        """Whether there is no gradient, or one of zeros."""
        return self.gradient is None or not bool(self.gradient.any())


def reason(
    model: Model, images: Images, target: Target | None, row: int, layers: tuple[str, ...], otherwise: str | None = None
) -> str:
    """Why the map of one image is zero everywhere.

    Args:
        layers: the layers of the map; empty for a map of the input.
        otherwise: the reason to give where the gradient is not zero.
    """
    if target is None:
        return otherwise or Fact("every channel is the same at all positions of this layer")
    own_target = target.for_copies(torch.tensor([row], device="cpu"))
    tensor = images.tensor[row : row + 1]
    try:
        probes = [(address, _probe(model, tensor, own_target, address)) for address in layers or (None,)]
        address, probe = next(((a, probe) for a, probe in probes if probe.has_zero_gradient), probes[0])
        if not probe.has_zero_gradient:
            return otherwise or _reason_despite_gradient(probe, address)
        score_changes = _perturbed_score(model, tensor, own_target, address, probe) != probe.score
    except ConvScopeError as error:
        return Fact("every number of it is zero; why cannot be told: {error}", error=error)
    changed = Fact("the input") if address is None else Fact("the output of layer {layer}", layer=repr(address))
    if not score_changes:
        return Fact(
            "the gradient is zero everywhere, and the score stays the same when noise is added to {changed}",
            changed=changed,
        )
    why = Fact("the path to it is saturated or switched off here")
    if probe.own_functions:
        why = Fact(
            "the path to it leads through {functions}, whose backward pass is the network's own",
            functions=probe.own_functions,
        )
    if probe.stops:
        why = Fact("{operations} passes no gradient", operations=probe.stops)
    return Fact(
        "the gradient is zero everywhere although the score changes with {changed}: {why}; {remedy}",
        changed=changed,
        why=why,
        remedy=WITHOUT_GRADIENT,
    )


def where_gradients_stop(model: Model, images: Images, target: Target) -> str:
    """The operations of the network through which no gradient passes, in words."""
    own_target = target.for_copies(torch.tensor([0], device="cpu"))
    try:
        return _probe(model, images.tensor[:1], own_target, None).stops
    except ConvScopeError:
        return ""


def _probe(model: Model, tensor: Tensor, target: Target, address: str | None) -> _Probe:
    torch.manual_seed(0)  # so that random numbers do not change the score; generators are restored at the end
    laid, stops = model.input_copy(tensor), _GradientStops(model.module)
    if address is None:
        leaf = laid.requires_grad_(True)
        with torch.enable_grad(), stops:
            scores = score(model, leaf.clone(), target, torch.tensor([0], device="cpu"), clean=False)
    else:
        with torch.no_grad(), capture(model.module, [address], differentiable=True) as caught, stops:
            scores = score(model, laid, target, torch.tensor([0], device="cpu"), clean=False)
        leaf = caught[address]
    gradient, own = None, _own_functions(scores)
    if scores.requires_grad:
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(scores.sum(), leaf, allow_unused=True)
    return _Probe(float(scores.detach().sum()), gradient, leaf.detach(), stops.words(), tuple(own))


def _perturbed_score(model: Model, tensor: Tensor, target: Target, address: str | None, probe: _Probe) -> float:
    """The score with noise added to the input or the layer, as strong as its largest number."""

    def with_noise(values: Tensor) -> Tensor:
        strength = float(probe.values.abs().amax()) or 1.0
        normal = torch.randn(
            values.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float32, device="cpu"
        )
        return values + strength * normal.to(values)

    rows = torch.tensor([0], device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        if address is None:
            return float(score(model, with_noise(model.input_copy(tensor)), target, rows, clean=False))
        laid = model.input_copy(tensor)
        with replace_output(model.module, address, with_noise, call=call_count(model, address, laid)):
            return float(score(model, laid, target, rows, clean=False))


def _reason_despite_gradient(probe: _Probe, address: str | None) -> str:
    """The reason where the gradient is not zero and the map is."""
    if not bool(probe.values.any()):
        if address is None:
            return Fact("the input is zero, though the gradient there is not")
        return Fact("every activation of layer {layer} is zero, though the gradient there is not", layer=repr(address))
    if address is None:
        return Fact("the gradient is not zero, but what this method makes of it is")
    return Fact("the gradient at layer {layer} is not zero, but what this method makes of it is", layer=repr(address))
