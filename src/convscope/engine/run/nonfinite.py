"""Finds the operation of a forward pass that first gives NaN or infinity."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.ops.module_of_call import ModuleLocator
from convscope.errors import ConvScopeError


class _FiniteCheck(TorchFunctionMode):
    """Remembers the first operation that gave NaN or infinity from finite numbers."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module_of_call, self.origin = ModuleLocator(module), ""
        self._parameters = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        # Parameters are not operands here, so that a broken weight is found at its first use.
        operands = [a for a in (*args, *(kwargs or {}).values()) if id(a) not in self._parameters]
        undecided = not self.origin and all(_finite(a) for a in operands)
        result = func(*args, **(kwargs or {}))
        if undecided and isinstance(result, Tensor) and not _finite(result):
            name = str(getattr(func, "__name__", func)).strip("_")
            address = self.module_of_call()
            self.origin = f"{name!r} in {f'layer {address!r}' if address else 'its own forward'}"
        return result


def where_it_begins(model: Model, images: Images) -> str:
    """A sentence that names the operation at which the numbers of an image first overflow, if they do."""
    check = _FiniteCheck(model.module)
    try:
        for row in range(len(images)):
            with torch.no_grad(), check:
                model.run(images.tensor[row : row + 1].clone())
            if check.origin:
                return f"the network overflows first at the operation {check.origin}"
    except ConvScopeError as error:
        return f"where it overflows cannot be told: {error}"
    return "the network is finite on the image itself: it is the target, or a disturbed copy, that overflows"


def _finite(operand: Any) -> bool:
    if isinstance(operand, (list, tuple)):
        return all(_finite(part) for part in operand)
    return not isinstance(operand, Tensor) or not operand.is_floating_point() or bool(torch.isfinite(operand).all())
