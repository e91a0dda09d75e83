"""What the checks of an explanation look at: a map, and where they are given the network and the image it is of."""

from contextlib import suppress
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from convscope.catalogue import call, find
from convscope.engine.data.data_set import as_dataset
from convscope.engine.network.hooks import first_tensor
from convscope.engine.network.model import Model, as_model
from convscope.errors import InputError, UnknownName
from convscope.spec import LensSpec
from convscope.values import Attribution


class ExplanationEvidence:
    """A map of one image.

    Attributes:
        attribution: the map.
        model: the network that it explains; None if only the map was given.
        tensor: the prepared image (1, C, …); None as the network is.
    """

    def __init__(self, attribution: Any, model: Any = None, image: Any = None) -> None:
        if not isinstance(attribution, Attribution):
            raise InputError(
                f"an explanation is one map of a lens, as cs.grad_cam gives it for one image, not {attribution!r:.80}"
            )
        self.attribution = attribution
        self.model: Model | None = None
        self.tensor: Tensor | None = None
        if model is not None:
            self.model = as_model(model)
            self.tensor = next(iter(as_dataset(image, self.model, most=1).chunks())).tensor

    @cached_property
    def declaration(self) -> LensSpec | None:
        """The lens that made the map; None for a method of another program."""
        with suppress(UnknownName):
            return find(self.attribution.record.lens)
        return None

    @property
    def blank_reason(self) -> str:
        """What the lens says about a map that is zero everywhere; empty if it is not."""
        return str(self.attribution.notes.get("blank", "")) if self.attribution.blank else ""

    def scores(self, tensor: Tensor) -> Tensor | None:
        """The scores (N, classes) of prepared images; None without a network, or if it gives no scores of classes."""
        if self.model is None:
            return None
        with self.model.preserve_state(), torch.no_grad():
            scores: Tensor = self.model.run(tensor).float().cpu()
        return scores if scores.ndim == 2 and scores.shape[1] > 1 else None

    def map_for(self, target: int) -> Attribution:
        """The map of the same lens, with the same parameters, for another class."""
        declaration, attribution = self.declaration, self.attribution
        assert declaration is not None
        named = {name: v for name, v in attribution.record.parameters.items() if name in declaration.parameters}
        layers = {"layer": list(attribution.layers)} if declaration.takes_layer and attribution.layers else {}
        value = call(attribution.record.lens, self.model, self.tensor, **{**named, **layers, "target": target})
        result: Attribution = value[0] if isinstance(value, list) else value
        return result

    def gradient_at(self, layer: str, target: int) -> Tensor:
        """The gradient of a score to the output of a layer."""
        assert self.model is not None
        assert self.tensor is not None
        outputs: list[Tensor] = []

        def cut(module: Any, inputs: Any, output: Any) -> Any:
            tensor = first_tensor(output)
            if tensor is None:
                return None
            outputs.append(tensor.detach().requires_grad_())
            return outputs[-1] if isinstance(output, Tensor) else None

        module = dict(self.model.module.named_modules())[layer]
        with self.model.preserve_state(), torch.enable_grad():
            handle = module.register_forward_hook(cut)
            try:
                score = self.model.run(self.tensor)[0, target]
            finally:
                handle.remove()
            (gradient,) = torch.autograd.grad(score, outputs[-1], allow_unused=True)
        return torch.zeros_like(outputs[-1]) if gradient is None else gradient
