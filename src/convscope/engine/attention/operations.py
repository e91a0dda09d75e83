"""One operation that mixes values by attention weights: fused, or a product after a softmax.

Both give their weights and values in the same form: rows first (images, windows and heads, in any number of
dimensions), then queries and keys, or tokens and channels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from convscope.engine.ops.call import Call


class AttentionOperation(Protocol):
    """What a reader may do with an operation that mixes values by attention weights."""

    @property
    def address(self) -> str:
        """The address of the module that attends."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights by rows: (rows …, queries, keys)."""

    @property
    def value(self) -> Tensor:
        """The values as the operation holds them."""

    @property
    def values(self) -> Tensor:
        """The values (rows …, keys, channels)."""

    @property
    def arrange(self) -> "Arrangement":
        """How weights, values and output are brought to the form by rows."""

    def weights(self) -> Tensor:
        """The attention weights as the operation holds them, with a graph where its operands have one."""

    def run(self) -> Any:
        """The output as the network computes it."""

    def run_with(self, weights: Tensor) -> Tensor:
        """The output with other weights, in the form of `weights`."""


@dataclass(frozen=True, eq=False)
class FusedAttention:
    """A call of ``scaled_dot_product_attention``, whose weights are computed beside it."""

    call: Call

    @property
    def address(self) -> str:
        """The address of the module that attends."""
        return self.call.address

    @property
    def query(self) -> Tensor:
        """The queries (rows …, queries, channels)."""
        query: Tensor = self.call.argument(0, "query")
        return query

    @property
    def key(self) -> Tensor:
        """The keys (rows …, keys, channels), repeated where several heads share them."""
        key = self.call.argument(1, "key")
        return _repeated(key, self._repetitions(key))

    @property
    def values(self) -> Tensor:
        """The values (rows …, keys, channels), repeated where several heads share them."""
        return self.arrange.values(self.value)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights: (rows …, queries, keys)."""
        rows = _broadcast(self.query.shape[:-2], self.key.shape[:-2])
        return (*rows, self.query.shape[-2], self.key.shape[-2])

    def weights(self) -> Tensor:
        """Softmax of the scaled products, in which masked keys have no weight."""
        query, key, scale = self.query, self.key, self.call.kwargs.get("scale")
        logits = (query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)) @ key.mT
        if self.call.argument(5, "is_causal", False):
            causal = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
            logits = logits.masked_fill(~causal, -math.inf)
        mask = self.call.argument(3, "attn_mask")
        if mask is not None:
            logits = logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask
        # a query of which every key is masked has no weights, as in the fused kernels
        return torch.softmax(logits, -1).masked_fill((logits == -math.inf).all(-1, keepdim=True), 0.0)

    @property
    def value(self) -> Tensor:
        """The values as the operation holds them."""
        value: Tensor = self.call.argument(2, "value")
        return value

    @property
    def arrange(self) -> "Arrangement":
        """Everything is in the form by rows already, but values that several heads share."""
        repetitions = self._repetitions(self.value)
        return Arrangement(_unchanged, lambda t: _repeated(t, repetitions), _unchanged)

    def run(self) -> Any:
        """The output of the fused operation."""
        return self.call.run()

    def run_with(self, weights: Tensor) -> Tensor:
        """The product of weights and values."""
        return weights @ self.values

    def _repetitions(self, tensor: Tensor) -> int:
        """How many heads of the queries share one of the keys or values."""
        return self.query.shape[-3] // tensor.shape[-3] if self.call.kwargs.get("enable_gqa") else 1


def _repeated(tensor: Tensor, repetitions: int) -> Tensor:
    return tensor.repeat_interleave(repetitions, -3) if repetitions > 1 else tensor


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True, eq=False)
class WeightedSum:
    """A matrix product that sums values over the dimension along which a softmax was taken.

    Attributes:
        position: which operand holds the weights.
        operands: the two operands.
        arrange: bring weights, values and output to the form by rows.
    """

    call: Call
    position: int
    operands: tuple[Tensor, Tensor]
    arrange: "Arrangement"

    @property
    def address(self) -> str:
        """The address of the module that attends."""
        return self.call.address

    @property
    def values(self) -> Tensor:
        """The values (rows …, keys, channels)."""
        return self.arrange.values(self.value)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights by rows: (rows …, queries, keys)."""
        return tuple(self.arrange.weights(self.operands[self.position]).shape)

    def weights(self) -> Tensor:
        """The operand that holds the weights."""
        return self.operands[self.position]

    @property
    def value(self) -> Tensor:
        """The values as the operation holds them."""
        return self.operands[1 - self.position]

    def run(self) -> Any:
        """The output as the network computes it."""
        return self.call.run()

    def run_with(self, weights: Tensor) -> Tensor:
        """The same product with other weights."""
        original = self.operands[self.position]
        output: Tensor = self.call.replaced(lambda tensor: weights if tensor is original else tensor).run()
        return output


@dataclass(frozen=True, eq=False)
class Arrangement:
    """How the tensors of one operation are brought to the form by rows: (rows …, queries, keys) and so on.

    It holds no tensor, and may be applied to anything of the same shape: gradients, positions.
    """

    weights: Callable[[Tensor], Tensor]
    values: Callable[[Tensor], Tensor]
    output: Callable[[Tensor], Tensor]


def arrange_matmul(first: Tensor, second: Tensor, position: int) -> Arrangement:
    """Weights · values, or values · weights, whose weights are (…, keys, queries)."""
    rows = _broadcast(first.shape[:-2], second.shape[:-2])

    def expanded(tensor: Tensor) -> Tensor:
        return tensor.expand(*rows, *tensor.shape[-2:])

    if position == 0:
        return Arrangement(expanded, expanded, _unchanged)
    return Arrangement(lambda t: expanded(t).mT, lambda t: expanded(t).mT, lambda output: output.mT)


def arrange_einsum(equation: str, operands: tuple[Tensor, Tensor], position: int, key_dim: int) -> Arrangement | None:
    """The same for ``einsum``; None where the equation does not sum values over the keys."""
    words = _spelled_out(equation, operands)
    if words is None:
        return None
    names, value_names, out_names = words[position], words[1 - position], words[2]
    key = names[key_dim]
    if key in out_names or key not in value_names or len(set(names)) < len(names):
        return None
    queries = [name for name in names if name in out_names and name not in value_names]
    query = queries[-1] if queries else ""
    channels = [name for name in value_names if name in out_names and name not in names]
    rows = [name for name in out_names if name != query and name not in channels]
    sizes = {
        name: size for w, t in zip(words[:2], operands, strict=True) for name, size in zip(w, t.shape, strict=True)
    }

    def ordered(tensor: Tensor, own: str, tokens: str, rest: list[str]) -> Tensor:
        """Permute to rows, tokens, rest; rows that the tensor lacks are repeated, and so is a missing query."""
        order = [name for name in (*rows, tokens, *rest) if name and name in own]
        permuted = tensor.permute([own.index(name) for name in order])
        index = tuple(slice(None) if name and name in own else None for name in (*rows, tokens, *rest))
        shape = [sizes.get(name, 1) for name in (*rows, tokens, *rest)]
        return permuted[index].expand(shape)

    def with_channels(tensor: Tensor, own: str, tokens: str) -> Tensor:
        return (
            ordered(tensor, own, tokens, channels).flatten(len(rows) + 1)
            if channels
            else (ordered(tensor, own, tokens, []).unsqueeze(-1))
        )

    return Arrangement(
        lambda tensor: ordered(tensor, names, query, [key]),
        lambda tensor: with_channels(tensor, value_names, key),
        lambda tensor: with_channels(tensor, out_names, query),
    )


def _spelled_out(equation: str, operands: tuple[Tensor, Tensor]) -> tuple[str, str, str] | None:
    """The letters of both operands and of the output, with letters in place of an ellipsis; None if it has no arrow."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    words = inputs.split(",")
    if not arrow or len(words) != 2:
        return None
    spare = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in equation]
    hidden = [t.ndim - len(w.replace("...", "")) for w, t in zip(words, operands, strict=True) if "..." in w]
    if any("..." not in word for word in words) and hidden:
        return None
    shared = "".join(spare[: max(hidden, default=0)])
    if len(set(hidden)) > 1:
        return None
    first, second, out = (word.replace("...", shared) for word in (*words, output))
    return first, second, out
