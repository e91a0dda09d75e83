"""Where in a forward the first number that is none appears."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.ops.module_of_call import Whereabouts
from convscope.errors import ConvScopeError


class _Watch(TorchFunctionMode):
    """Remembers the first operation that made NaN or infinity of finite numbers."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.where, self.found = Whereabouts(module), ""
        self._own = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        given = [a for a in (*args, *(kwargs or {}).values()) if id(a) not in self._own]  # a broken weight is found out
        before = not self.found and all(_finite(a) for a in given)
        out = func(*args, **(kwargs or {}))
        if before and isinstance(out, Tensor) and not _finite(out):
            name = str(getattr(func, "__name__", func)).strip("_")
            address = self.where()
            self.found = f"{name!r} in {f'layer {address!r}' if address else 'its own forward'}"
        return out


def where_it_begins(model: Model, images: Images) -> str:
    """In words: the operation of the network at which an image's numbers first overflow, if they do."""
    watch = _Watch(model.module)
    try:
        for row in range(len(images)):
            with torch.no_grad(), watch:
                model.run(images.tensor[row : row + 1].clone())
            if watch.found:
                return f"the network overflows first at the operation {watch.found}"
    except ConvScopeError as error:
        return f"where it overflows cannot be told: {error}"
    return "the network is finite on the image itself: it is the target, or a disturbed copy, that overflows"


def _finite(thing: Any) -> bool:
    if isinstance(thing, (list, tuple)):
        return all(_finite(one) for one in thing)
    return not isinstance(thing, Tensor) or not thing.is_floating_point() or bool(torch.isfinite(thing).all())
