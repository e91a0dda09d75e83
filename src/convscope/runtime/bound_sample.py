"""One sample of a network of several inputs, or of tokens, and the network as one that takes a part of it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from convscope.engine.inputs.named_inputs import NamedInputs, PackedInput, write_inputs
from convscope.engine.inputs.specs import Images
from convscope.engine.inputs.token_input import EmbeddedTokens, TokenInput
from convscope.engine.network.binding import (
    BoundPart,
    SampleBinding,
    call_network,
    call_style,
    token_numbers,
)
from convscope.engine.network.cache import CacheEntry, NetworkCache
from convscope.engine.network.model import Model
from convscope.engine.network.scores_only import scores_only_part
from convscope.engine.network.token_embedding import EmbeddingCall, check_embedding, embedding_calls
from convscope.errors import InputError

ONLY = "input"
"""The name of the only input of a network of tokens."""

_BOUND_CACHES: CacheEntry[dict[Any, NetworkCache]] = CacheEntry("bound caches", dict)
"""What is known of the network as one that takes some of its inputs, by their names and the shapes of all."""


class BoundSample:
    """One sample of a network's inputs.

    Attributes:
        inputs: the prepared inputs by name, each a batch of one.
    """

    def __init__(self, model: Model, inputs: Mapping[str, Images]) -> None:
        self.model, self.inputs = model, inputs
        self._own = {
            name: token_numbers(images.tensor) if isinstance(images.spec, TokenInput) else images.tensor
            for name, images in inputs.items()
        }
        named = model.input if isinstance(model.input, NamedInputs) else None
        self._style = "positional" if named is None else call_style(model.module, named, model.name)
        self._embedded: dict[str, tuple[EmbeddingCall, Images]] = {}
        self._calls: Mapping[str, tuple[EmbeddingCall, Tensor]] | None = None

    @property
    def name(self) -> str:
        """The inputs as text."""
        names = {name: images.names[0] for name, images in self.inputs.items()}
        return names[ONLY] if tuple(names) == (ONLY,) else write_inputs(names)

    def bound_to(self, name: str) -> tuple[Model, Images]:
        """The network as one that takes this input, and the input."""
        images = self.images_of(name)
        return self.bound((name,), images.spec), images

    def images_of(self, name: str) -> Images:
        """The input that a lens sees: the prepared one, or of tokens the output of their embedding."""
        images = self.inputs[name]
        return images if not isinstance(images.spec, TokenInput) else self._embedding(name)[1]

    def _embedding(self, name: str) -> tuple[EmbeddingCall, Images]:
        """The call that embeds an input of tokens, and its output as (1, dimensions, tokens)."""
        if name not in self._embedded:
            images, model = self.inputs[name], self.model
            spec = images.spec
            assert isinstance(spec, TokenInput), "only tokens are embedded"
            if scores_only_part(model.module) is not None:
                raise InputError(
                    f"tokens are explained at their embedding, and only the scores of {model.name} are known: explain "
                    "another input"
                )
            call = self._embedding_calls().get(name)
            at, vectors = check_embedding(call, self._own[name], model.name, spec.embedding)
            baseline = _baseline(model, at.address, spec, vectors)
            embedded = EmbeddedTokens(tokens=spec.words(images.tensor[0]), baseline=tuple(baseline))
            explained = vectors.transpose(1, 2).contiguous()
            self._embedded[name] = at, Images(explained, images.names, True, embedded, remark=images.remark)
        return self._embedded[name]

    def _embedding_calls(self) -> Mapping[str, tuple[EmbeddingCall, Tensor]]:
        """The calls that embed the inputs of tokens, by a run of the network on the sample."""
        if self._calls is None:
            chosen = {n: each.spec.embedding for n, each in self.inputs.items() if isinstance(each.spec, TokenInput)}
            numbers = {name: self._own[name] for name in chosen}
            shape = tuple(next(iter(numbers.values())).shape)

            def run() -> None:
                call_network(self.model.module, self._own, self._style)

            with self.model.preserve_state(), self.model.wrap_forward_errors(shape):
                self._calls = embedding_calls(self.model.module, run, numbers, chosen)
        return self._calls

    def bound(self, explained: tuple[str, ...], spec: Any) -> Model:
        """The network as one that takes the explained inputs as one tensor."""
        parts = {
            name: BoundPart(own, self._embedding(name)[0] if self._is_token(name) and name in explained else None)
            for name, own in self._own.items()
        }
        packed = spec if isinstance(spec, PackedInput) else None
        key = (explained, tuple((name, tuple(own.shape)) for name, own in self._own.items()))
        cache = self.model.cache[_BOUND_CACHES].setdefault(key, NetworkCache())
        return self.model.bound(SampleBinding(parts, explained, self._style, packed), spec, cache)

    def _is_token(self, name: str) -> bool:
        return isinstance(self.inputs[name].spec, TokenInput)


def _baseline(model: Model, address: str, spec: TokenInput, vectors: Tensor) -> list[float]:
    """The vector that stands for no token: the embedding of the padding, or zero."""
    if spec.padding is None:
        return [0.0] * vectors.shape[2]
    layer = model.module.get_submodule(address)
    padding = torch.full((1, 1), int(spec.padding), dtype=torch.long, device=vectors.device)
    with model.preserve_state(), torch.no_grad():  # a layer with max_norm writes to its weight
        padded: list[float] = layer(padding)[0, 0].double().cpu().tolist()
    return padded
