"""What the checks of a network look at: some images, and what the network gives for them; computed once when needed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from convscope.catalogue import call
from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.data.data_set import as_dataset
from convscope.engine.layers.kernels import has_kernels, is_convolution
from convscope.engine.network.hooks import first_tensor
from convscope.engine.network.model import Model, as_model
from convscope.training.checks.answer_maps import AnswerMaps, maps_of_answers
from convscope.training.checks.features import features_within
from convscope.training.checks.object_masks import given_masks, masks_of
from convscope.values import Distribution

MOST_IMAGES, MOST_OBSERVED = 256, 64
"""So many images are looked at, and of so many the outputs of all layers, in one pass."""


class NetworkEvidence:
    """A network and at most `MOST_IMAGES` images.

    Attributes:
        model: the network.
        tensor: the prepared images (N, C, …).
        names: the name of each image: a path, an address.
        classes: the class of each image, or None.
    """

    def __init__(self, model: Any, images: Any, masks: Any = None) -> None:
        self.model: Model = as_model(model)
        dataset = as_dataset(images, self.model, most=MOST_IMAGES)
        chunks = list(dataset.chunks())
        self.tensor: Tensor = torch.cat([chunk.tensor for chunk in chunks])
        self.names = [name for chunk in chunks for name in chunk.names]
        self._masks = masks
        self.classes = [index for chunk in chunks for index in dataset.classes(chunk.labels or (None,) * len(chunk))]

    @cached_property
    def activations(self) -> Distribution:
        """The distribution of the outputs of every layer."""
        values: Distribution = call("activations", self.model, self.tensor)
        return values

    @cached_property
    def gradients(self) -> Distribution:
        """The distribution of the gradient of the loss over the parameters of every layer."""
        values: Distribution = call("parameter-gradients", self.model, _Labelled(self.tensor, self.classes))
        return values

    @cached_property
    def own_scores(self) -> Tensor:
        """The scores of the images themselves."""
        return self.scores(self.tensor)

    @cached_property
    def answers(self) -> Tensor | None:
        """The class with the highest score for each image; None if the network gives no scores of several classes."""
        scores = self.own_scores
        return scores.argmax(1) if scores.ndim == 2 and scores.shape[1] > 1 else None

    @cached_property
    def answer_maps(self) -> AnswerMaps | None:
        """Where the network looks for its answers; None if it does not answer classes of images."""
        return maps_of_answers(self)

    @cached_property
    def masks(self) -> Tensor | None:
        """The pixels (N, height, width) of the objects: those that were given, or of samples; None if unknown."""
        shape = self.tensor.shape
        return masks_of(self.names, shape) if self._masks is None else given_masks(self._masks, shape, self.names)

    @cached_property
    def features(self) -> Tensor | None:
        """What the last linear layer receives (N, features); None if there is none that gets one vector per image."""
        return features_within(self.model, lambda: self.scores(self.tensor), len(self.tensor))

    def class_name(self, index: int) -> str:
        """The label of a class, or its number."""
        return str(self.model.labels[index]) if self.model.labels else str(index)

    def scores(self, tensor: Tensor) -> Tensor:
        """The scores of prepared images, float32 on the CPU; nothing of the network or the images changes."""
        scores: list[Tensor] = []

        def step(rows: Tensor) -> None:
            scores.append(self.model.run(self.model.input_copy(rows_of(tensor, rows))).float().cpu())

        with self.model.preserve_state(), torch.no_grad():
            in_chunks(len(tensor), tensor[0], step, light=True, quiet=True)
        return torch.cat(scores)

    def convolutions(self) -> Iterator[tuple[str, nn.Module]]:
        """Convolutions with their addresses."""
        for name, module in self.model.module.named_modules():
            if has_kernels(module, self.model) and is_convolution(module):
                yield name, module

    def observe(self, kinds: type[nn.Module] | None, observe: Callable[[str, nn.Module, Tensor, Tensor], None]) -> None:
        """Run `MOST_OBSERVED` images; ``observe`` gets address, layer, input and output of each layer of a kind."""

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
            self.model.run(self.model.input_copy(self.tensor[:MOST_OBSERVED]))


class _Labelled(torch.utils.data.Dataset[Any]):
    """Prepared images, with their classes where they are known."""

    def __init__(self, tensor: Tensor, classes: list[int | None]) -> None:
        self.tensor, self.classes = tensor, classes

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: int) -> Tensor | tuple[Tensor, int]:
        row, label = self.tensor[index], self.classes[index]
        return row if label is None else (row, label)
