"""The memory that a forward pass needs at least, found without computing it, for inputs that are large.

The network runs on tensors that have shapes but no numbers. Counted is what an operation reads and writes at the same
time and, where gradients are needed, what autograd keeps for the backward pass: no implementation can do with less.
"""

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from convscope.engine.context.free_memory import require_memory
from convscope.engine.network.cache import CacheEntry
from convscope.engine.ops.dispatch_mode import DispatchMode
from convscope.engine.ops.module_of_call import ModuleLocator
from convscope.errors import ModelFailed

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

SMALLEST = 2**22
"""From how many numbers on an input is large."""
_IMAGES = 2
"""Every network is run on two inputs together once, to see how its outputs are laid out."""
_BYTES_OF_COMPANION = 32
"""What drawing the second of them takes for each number: it is made of the sorted numbers of the first."""
_PLANNED: CacheEntry[set[tuple[Any, ...]]] = CacheEntry("planned", set)


def require_memory_of_forward(model: "Model", tensor: Tensor, *, gradients: bool, frozen: bool = False) -> None:
    """Refuse inputs like ``tensor`` (N, C, …) for which a forward pass needs more memory than is free.

    Args:
        gradients: whether the whole network is differentiated, down to its input.
        frozen: count as if no parameter had a gradient, as in a lens: autograd keeps less then.

    Raises:
        TooLittleMemory: the message says how much is needed, and by which layer.
    """
    image = tensor[:1]
    key = (tuple(image.shape), gradients)
    if image.numel() < SMALLEST or model.binding is not None or key in model.cache[_PLANNED]:
        return
    size = " × ".join(map(str, image.shape[1:]))
    subject, remedy = f"a forward pass of {model.name} for inputs of {size}", "use smaller ones: crop them, or lower "
    remedy += "their size (?size=… or ?shape=… in the address of the network)"
    require_memory(_BYTES_OF_COMPANION * image.numel(), image.device, subject, remedy)
    count = _count_bytes(model, image, gradients=gradients, frozen=frozen)
    if count is not None:
        largest = f" (at {count.where!r} with {count.shape})" if count.where else ""
        require_memory(_IMAGES * count.largest, image.device, f"{subject} and one to compare with{largest}", remedy)
        subject = f"the backward pass of {model.name} for inputs of {size}"
        require_memory(count.kept, image.device, subject, f"{remedy}, or choose a lens without gradients")
    model.cache[_PLANNED].add(key)


class _ByteCount(DispatchMode):
    """Counts the bytes of operations on tensors without numbers.

    Attributes:
        largest: the most bytes that one operation reads and writes, but for parameters.
        where: the module of that operation.
        shape: of its result.
    """

    def __init__(self, network: nn.Module, weights: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._locate = ModuleLocator(network)
        self._weights = {_storage(weight) for weight in weights}
        self._kept: dict[int, Any] = {}
        self.largest, self.where, self.shape = 0, "", ""

    @property
    def kept(self) -> int:
        """The bytes that autograd keeps for the backward pass."""
        return sum(storage.nbytes() for storage in self._kept.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        storages = {_storage(each): each.untyped_storage() for each in (*inputs, *outputs) if each.is_meta}
        size = sum(storage.nbytes() for key, storage in storages.items() if key not in self._weights)
        if size > self.largest and outputs:
            self.largest, self.where = size, self._locate()
            self.shape = " × ".join(map(str, outputs[0].shape[1:]))
        return result

    def keep(self, tensor: Tensor) -> Tensor:
        """Count a tensor that autograd keeps."""
        if tensor.is_meta and _storage(tensor) not in self._weights:
            self._kept[_storage(tensor)] = tensor.untyped_storage()
        return tensor


def _count_bytes(model: "Model", image: Tensor, *, gradients: bool, frozen: bool = False) -> _ByteCount | None:
    """The bytes of a forward pass of one input; None where the network computes with numbers that are not there."""
    network = _without_numbers(model.module)
    if network is None:
        return None
    if frozen:
        network.requires_grad_(False)
    weights = [*network.parameters(), *network.buffers()]
    without_numbers = torch.empty_like(image, device="meta", requires_grad=gradients)
    count = _ByteCount(network, weights)
    keeping: AbstractContextManager[Any] = nullcontext()
    if gradients:
        keeping = torch.autograd.graph.saved_tensors_hooks(count.keep, lambda tensor: tensor)
    try:
        with model.wrap_forward_errors(tuple(image.shape)), torch.set_grad_enabled(gradients), keeping, count:
            network(without_numbers)
    except ModelFailed:  # the lens runs it on real numbers, and reports what fails there
        return None
    return count


def _without_numbers(module: nn.Module) -> nn.Module | None:
    """A copy whose parameters and buffers have shapes but no numbers; None if the network cannot be copied.

    What a forward leaves behind, such as a table of positions that is computed once, stays in the copy. It has no
    hooks: those of the caller expect numbers.
    """
    copies: dict[int, Any] = {}
    for parameter in module.parameters():
        copies[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    for buffer in module.buffers():
        copies[id(buffer)] = buffer.detach().to("meta")
    try:
        network: nn.Module = copy.deepcopy(module, copies)
    except Exception:  # a network may hold anything, such as a lock; it then runs without a plan
        return None
    for layer in network.modules():
        layer._forward_hooks.clear()
        layer._forward_pre_hooks.clear()
    return network


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
