"""Attention layers."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.errors import LoadError
from convscope.loaders.keras.layers.attention_masks import allowed_positions, masked_scores
from convscope.loaders.keras.layers.building import set_weight
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.masks import Mask
from convscope.loaders.keras.translation import LayerContext, translates


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with several heads; its projections have the names that Keras gives them."""

    def __init__(
        self,
        projections: dict[str, nn.Linear],
        heads: int,
        key_size: int,
        layout: Layout,
        *,
        axes: int | None = None,
        shared_by: int = 1,
        trained_with_dropout: bool = False,
    ) -> None:
        super().__init__()
        self.axes, self.shared_by, self.trained_with_dropout = axes, shared_by, trained_with_dropout
        self.query, self.key = projections["query"], projections["key"]
        self.value, self.attention_output = projections["value"], projections["attention_output"]
        self.heads, self.key_size, self.layout = heads, key_size, layout

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        *,
        masks: tuple[Mask, ...] = (),
        query_mask: Mask = None,
        value_mask: Mask = None,
        key_mask: Mask = None,
        attention_mask: Mask = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Attend; positions along several axes are taken together."""
        if self.axes not in (None, query.ndim - 2):
            raise ValueError(f"it attends along {self.axes} of {query.ndim - 2} axes of positions")
        queries, shape = self._tokens(query)
        read, _ = self._tokens(value)
        keys = read if key is None else self._tokens(key)[0]
        heads = [
            projection(tokens).unflatten(-1, (-1, self.key_size if size is None else size)).transpose(1, 2)
            for projection, tokens, size in (
                (self.query, queries, None),
                (self.key, keys, None),
                (self.value, read, self.value.out_features * self.shared_by // self.heads),
            )
        ]
        queried, keyed, valued = heads
        if self.shared_by > 1:
            keyed, valued = (part.repeat_interleave(self.shared_by, 1) for part in (keyed, valued))
        own = [
            named if named is not None else known
            for named, known in zip((query_mask, value_mask, key_mask), (*masks, None, None, None)[:3], strict=True)
        ]
        lengths = (queries.shape[1], keys.shape[1])
        scale = self.key_size**-0.5
        masked = return_attention_scores or any(mask is not None for mask in (*own, attention_mask))
        weights: Tensor | None = None
        if masked:
            allowed = allowed_positions(own, attention_mask, lengths, query.device, causal=use_causal_mask)
            weights = masked_scores(queried @ keyed.transpose(2, 3) * scale, allowed).softmax(-1)
            if allowed is not None and (return_attention_scores or self.trained_with_dropout):
                weights = torch.where(allowed[:, None], weights, 0)  # Keras' other computation, for queries without key
            mixed = weights @ valued
        else:
            mixed = F.scaled_dot_product_attention(queried, keyed, valued, is_causal=use_causal_mask, scale=scale)
        output = self.attention_output(mixed.transpose(1, 2).flatten(2))
        output = self.layout.from_keras(output.reshape(*shape, output.shape[-1]))
        return (output, self.layout.from_keras(weights)) if return_attention_scores and weights is not None else output

    def _tokens(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """A tensor as (N, positions, features), and its shape without the features."""
        ordered = self.layout.to_keras(x)
        return ordered.flatten(1, -2), tuple(ordered.shape[:-1])

    def extra_repr(self) -> str:
        """The heads."""
        return f"heads={self.heads}"


class Attention(nn.Module):
    """Attention without projections: by dot products, or by a learned sum of tanh(query + key)."""

    def __init__(self, mode: str, scale: Tensor | None, weight: Tensor | None, layout: Layout) -> None:
        super().__init__()
        self.mode, self.layout = mode, layout
        self.scale = None if scale is None else nn.Parameter(scale)
        self.weight = None if weight is None else nn.Parameter(weight)

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        *,
        mask: tuple[Mask, ...] = (),
        masks: tuple[Mask, ...] = (),
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Attend; the output of masked queries is zero."""
        queries, read = self.layout.to_keras(query), self.layout.to_keras(value)
        keys = read if key is None else self.layout.to_keras(key)
        of_query, of_value = (*(mask or masks), None, None)[:2]
        scores = self._scores(queries, keys)
        lengths = (scores.shape[-2], scores.shape[-1])
        allowed = allowed_positions((None, of_value), None, lengths, scores.device, causal=use_causal_mask)
        weights = masked_scores(scores, allowed).softmax(-1)
        output = weights @ read
        if of_query is not None:
            output = torch.where(of_query.bool()[..., None], output, 0)
        output = self.layout.from_keras(output)
        return (output, self.layout.from_keras(weights)) if return_attention_scores else output

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        if self.mode == "dot":
            scores = query @ key.transpose(1, 2)
            return scores if self.scale is None else scores * self.scale
        sums = query[:, :, None] + key[:, None]
        if self.mode == "concat":
            weight = 1 if self.weight is None else self.weight
            return weight * torch.tanh(sums if self.scale is None else self.scale * sums).sum(-1)
        return (torch.tanh(sums) if self.scale is None else self.scale * torch.tanh(sums)).sum(-1)

    def extra_repr(self) -> str:
        """How scores are computed."""
        return f"mode={self.mode}"


@translates("MultiHeadAttention")
def multi_head_attention(context: LayerContext) -> nn.Module:
    """Attention with several heads."""
    _refuse_unusual(context)
    axes = context.setting("attention_axes")
    axes = None if axes is None else _as_list(axes)
    if axes is not None and axes != list(range(1, len(axes) + 1)):
        raise context.refuse("it attends along chosen axes only")
    if context.setting("output_shape") is not None and len(_as_list(context.setting("output_shape"))) != 1:
        raise context.refuse("its output has several axes of features")
    heads, key_size = context.numbers("num_heads", 1)[0], context.numbers("key_dim", 1)[0]
    biased = context.flag("use_bias", True)
    projections = {name: _projection(context, name, biased) for name in ("query", "key", "value", "attention_output")}
    if projections["query"].out_features != heads * key_size:
        raise LoadError(
            f"the weights do not fit: layer {context.layer.name!r} has {heads} heads of {key_size}, and its query "
            f"projection gives {projections['query'].out_features} numbers"
        )
    return MultiHeadAttention(
        projections, heads, key_size, context.layout, axes=len(axes) if axes else None, **_options(context)
    )


@translates("GroupQueryAttention")
def grouped_query_attention(context: LayerContext) -> nn.Module:
    """Attention in which several heads of queries share one head of keys and values."""
    _refuse_unusual(context)
    heads, shared_heads = context.numbers("num_query_heads", 1)[0], context.numbers("num_key_value_heads", 1)[0]
    size, biased = context.numbers("head_dim", 1)[0], context.flag("use_bias", True)
    projections = {name: _projection(context, name, biased) for name in ("query", "key", "value", "attention_output")}
    if projections["query"].out_features != heads * size or projections["key"].out_features != shared_heads * size:
        raise LoadError(f"the weights do not fit: layer {context.layer.name!r} has {heads} heads of {size}")
    return MultiHeadAttention(
        projections, heads, size, context.layout, shared_by=heads // shared_heads, **_options(context)
    )


def _options(context: LayerContext) -> dict[str, bool]:
    """Whether Keras computes the layer by explicit scores."""
    return {"trained_with_dropout": context.number("dropout", 0) > 0}


def _refuse_unusual(context: LayerContext) -> None:
    """Raise `Untranslatable` for what few networks have."""
    if context.flag("use_gate"):
        raise context.refuse("it has a gate")
    if context.setting("sliding_window") is not None:
        raise context.refuse("it attends within a sliding window")


@translates("Attention")
def attention(context: LayerContext) -> nn.Module:
    """Attention by dot products, or by the sum of tanh(query + key)."""
    mode = context.setting("score_mode", "dot")
    if mode not in ("dot", "concat"):
        raise context.refuse(f"its scores are computed by {str(mode)[:40]!r}")
    scale = context.tensor("scale", 0) if context.flag("use_scale") else None
    weight = context.tensor("concat_score_weight", 0) if mode == "concat" else None
    return Attention(mode, scale, weight, context.layout)


@translates("AdditiveAttention")
def additive_attention(context: LayerContext) -> nn.Module:
    """Attention by the sum of tanh(query + key), with a scale per feature."""
    return Attention(
        "add", context.tensor("scale", 1) if context.flag("use_scale", True) else None, None, context.layout
    )


def _projection(context: LayerContext, name: str, biased: bool) -> nn.Linear:
    """A projection whose kernel is (features, heads, size), or (heads, size, features) for the output."""
    kernel = context.tensor(f"{name} kernel", 3)
    matrix = kernel.flatten(0, 1) if name == "attention_output" else kernel.flatten(1)
    bias = context.tensor(f"{name} bias").flatten() if biased else None
    linear = nn.Linear(matrix.shape[0], matrix.shape[1], bias=biased, device="meta")
    set_weight(linear, "weight", matrix.T)
    set_weight(linear, "bias", bias)
    return linear


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
