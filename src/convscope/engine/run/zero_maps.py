"""Why a map is zero everywhere: found out by looking once more, and only then.

A gradient of zero does not mean that the score stays where it is: rounding, comparisons, ``argmax``, integers,
``detach`` and ``torch.no_grad`` pass no gradient. So the gradient is formed once more with an eye on such operations,
and the score is compared with that of a disturbed input (or layer). What is said was seen in these forwards.
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
from convscope.engine.layers.trace import calls_of
from convscope.engine.network.hooks import capture, editing, first_tensor
from convscope.engine.network.model import Model
from convscope.engine.ops.module_of_call import Whereabouts
from convscope.engine.run.gradients import score
from convscope.engine.targets.target import Aim
from convscope.errors import ConvScopeError

_STEPS = frozenset(("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside"))
"""Operations that stay on the graph and whose derivative is zero wherever there is one."""
_QUESTIONS = frozenset({
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros", "new_ones",
    "new_empty", "new_full", "new_tensor", "is_same_size", "isnan", "isinf", "isfinite", "view_as", "reshape_as",
    "expand_as", "type_as",
})  # fmt: skip
"""Operations that take no more of a tensor than its shape or kind, or only look whether it is sound."""
_TO_PYTHON = frozenset(("item", "tolist", "float", "int", "bool", "numpy"))
_DATA = Tensor.data.__get__  # type: ignore[attr-defined]
_FUNCTIONS = str(Path(torch.__file__).parent / "autograd" / "function.py")
_MOST_NAMED = 3

WITHOUT_GRADIENT = "lenses that need no gradient, such as occlusion or rise, show what it depends on"


class _Stops(TorchFunctionMode):
    """Notes the operations that were given numbers with a gradient and handed none on."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._whereabouts = Whereabouts(module)
        self.named: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        given = [*args, *(kwargs or {}).values()]
        carrying = any(isinstance(one, Tensor) and one.requires_grad for one in given)
        out = func(*args, **(kwargs or {}))
        if carrying:
            self._look(func, out, kwargs or {})
        return out

    def _look(self, func: Any, out: Any, kwargs: Mapping[str, Any]) -> None:
        name = "data" if func == _DATA else str(getattr(func, "__name__", func)).strip("_")
        made = first_tensor(out)
        stops = name in _TO_PYTHON if made is None else not made.requires_grad
        if name in _QUESTIONS or not (stops or name in _STEPS or kwargs.get("rounding_mode")) or _in_own_function():
            return
        layer = self._whereabouts()
        where = f"layer {layer!r}" if layer else "its own forward"
        ungraded = made is not None and not torch.is_grad_enabled()
        said = f"what runs under torch.no_grad inside {where}" if ungraded else f"{name!r} in {where}"
        if said not in self.named:
            self.named.append(said)

    def words(self) -> str:
        """The operations, in the order in which they ran."""
        more = len(self.named) - _MOST_NAMED
        return ", ".join(self.named[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _in_own_function() -> bool:
    """Whether the forward of an autograd function runs: in it nothing is recorded, though all may be passed on."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == _FUNCTIONS:
            return True
        frame = frame.f_back
    return False


def _own_functions(scores: Tensor) -> list[str]:
    """The autograd functions on a score's graph that are not PyTorch's own, by name."""
    found: dict[str, None] = {}
    waiting, known = [scores.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        if isinstance(node, BackwardCFunction):
            found[node.name().removesuffix("Backward")] = None
        waiting += [following for following, _ in node.next_functions]
    return list(found)


@dataclass
class _Look:
    """One forward and backward: the score, the gradient where it is wanted, what is there, what passes no gradient."""

    score: float
    gradient: Tensor | None
    values: Tensor
    stops: str = ""
    own_functions: tuple[str, ...] = ()

    @property
    def flat(self) -> bool:
        """Whether there is no gradient, or one of zeros."""
        return self.gradient is None or not bool(self.gradient.any())


def reason(
    model: Model, images: Images, aim: Aim | None, row: int, layers: tuple[str, ...], otherwise: str | None = None
) -> str:
    """Why the map of one image is zero everywhere.

    Args:
        layers: where the map was made; the input where there are none.
        otherwise: what the method says where the gradient is not zero.
    """
    if aim is None:
        return otherwise or "every channel is the same at all positions of this layer"
    one = aim.for_copies(torch.tensor([row], device="cpu"))
    tensor = images.tensor[row : row + 1]
    try:
        looks = [(address, _look(model, tensor, one, address)) for address in layers or (None,)]
        address, flat = next(((a, look) for a, look in looks if look.flat), looks[0])
        if not flat.flat:
            return otherwise or _with_gradient(flat, address)
        moved = _disturbed(model, tensor, one, address, flat) != flat.score
    except ConvScopeError as error:
        return f"every number of it is zero; why cannot be told: {error}"
    what = "the input" if address is None else f"the output of layer {address!r}"
    if not moved:
        return f"the gradient is zero everywhere, and the score stays the same when noise is added to {what}"
    why = "the path to it is saturated or switched off here"
    if flat.own_functions:
        why = f"the path to it leads through {', '.join(flat.own_functions)}, whose backward pass is the network's own"
    if flat.stops:
        why = f"{flat.stops} passes no gradient"
    return f"the gradient is zero everywhere although the score changes with {what}: {why}; {WITHOUT_GRADIENT}"


def where_gradients_stop(model: Model, images: Images, aim: Aim) -> str:
    """In words: the operations of the network that are given numbers with a gradient and pass none on."""
    one = aim.for_copies(torch.tensor([0], device="cpu"))
    try:
        return _look(model, images.tensor[:1], one, None).stops
    except ConvScopeError:
        return ""


def _look(model: Model, tensor: Tensor, aim: Aim, address: str | None) -> _Look:
    torch.manual_seed(0)  # what a network draws is no change of the score; the generators are put back in the end
    laid, stops = model.laid_out(tensor), _Stops(model.module)
    if address is None:
        leaf = laid.requires_grad_(True)
        with torch.enable_grad(), stops:
            found = score(model, leaf.clone(), aim, torch.tensor([0], device="cpu"), clean=False)
    else:
        with torch.no_grad(), capture(model.module, [address], differentiable=True) as caught, stops:
            found = score(model, laid, aim, torch.tensor([0], device="cpu"), clean=False)
        leaf = caught[address]
    gradient, own = None, _own_functions(found)
    if found.requires_grad:
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(found.sum(), leaf, allow_unused=True)
    return _Look(float(found.detach().sum()), gradient, leaf.detach(), stops.words(), tuple(own))


def _disturbed(model: Model, tensor: Tensor, aim: Aim, address: str | None, flat: _Look) -> float:
    """The score with noise as strong as what is there added to the input or the layer."""

    def with_noise(values: Tensor) -> Tensor:
        strength = float(flat.values.abs().amax()) or 1.0
        drawn = torch.randn(values.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float32, device="cpu")
        return values + strength * drawn.to(values)

    rows = torch.tensor([0], device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        if address is None:
            return float(score(model, with_noise(model.laid_out(tensor)), aim, rows, clean=False))
        laid = model.laid_out(tensor)
        with editing(model.module, address, with_noise, call=calls_of(model, address, laid)):
            return float(score(model, laid, aim, rows, clean=False))


def _with_gradient(look: _Look, address: str | None) -> str:
    """What is known where the gradient is not zero and the map is."""
    if not bool(look.values.any()):
        what = "the input is" if address is None else f"every activation of layer {address!r} is"
        return f"{what} zero, though the gradient there is not"
    there = "" if address is None else f" at layer {address!r}"
    return f"the gradient{there} is not zero, but what this method makes of it is"
