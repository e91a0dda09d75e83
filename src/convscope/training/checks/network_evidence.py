"""What the checks of a network look at: some images, and what the network gives for them; computed once when needed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from convscope.catalogue import call
from convscope.engine.data.data_set import as_dataset
from convscope.engine.layers.kernels import has_kernels, is_convolution
from convscope.engine.network.hooks import first_tensor
from convscope.engine.network.model import Model, as_model
from convscope.values import Distribution

MOST_IMAGES = 256


class NetworkEvidence:
    """A network and at most `MOST_IMAGES` images.

    Attributes:
        model: the network.
        tensor: the prepared images (N, C, …).
        classes: the class of each image, or None.
    """

    def __init__(self, model: Any, images: Any) -> None:
        self.model: Model = as_model(model)
        self.images = images
        dataset = as_dataset(images, self.model, most=MOST_IMAGES)
        chunks = list(dataset.chunks())
        self.tensor: Tensor = torch.cat([chunk.tensor for chunk in chunks])
        self.classes = [index for chunk in chunks for index in dataset.classes(chunk.labels or (None,) * len(chunk))]

    @cached_property
    def activations(self) -> Distribution:
        """The distribution of the outputs of every layer."""
        values: Distribution = call("activations", self.model, self.tensor)
        return values

    @cached_property
    def gradients(self) -> Distribution:
        """The distribution of the gradient of the loss over the parameters of every layer."""
        values: Distribution = call("parameter-gradients", self.model, self.tensor)
        return values

    def scores(self, tensor: Tensor) -> Tensor:
        """The scores of prepared images, float32 on the CPU; nothing of the network changes."""
        with self.model.preserve_state(), torch.no_grad():
            return torch.cat([self.model.run(part).float().cpu() for part in tensor.split(64)])  # type: ignore[no-untyped-call]

    def convolutions(self) -> Iterator[tuple[str, nn.Module]]:
        """Convolutions with their addresses."""
        for name, module in self.model.module.named_modules():
            if has_kernels(module, self.model) and is_convolution(module):
                yield name, module

    def observe(self, kinds: type[nn.Module] | None, observe: Callable[[str, nn.Module, Tensor, Tensor], None]) -> None:
        """Run the images once, and call ``observe`` with address, layer, input and output of each layer of a kind."""

        def hook(name: str) -> Any:
            def run(module: nn.Module, inputs: Any, output: Any) -> None:
                before, after = first_tensor(inputs), first_tensor(output)
                if before is not None and after is not None and after.is_floating_point():
                    observe(name, module, before.detach(), after.detach())

            return run

        layers = [(n, m) for n, m in self.model.module.named_modules() if n and not any(True for _ in m.children())]
        with self.model.preserve_state(), torch.no_grad(), ExitStack() as hooks:
            for name, module in layers:
                if (kinds is None or isinstance(module, kinds)) and not isinstance(module, torch.jit.ScriptModule):
                    hooks.callback(module.register_forward_hook(hook(name)).remove)
            self.model.run(self.tensor[:64])
