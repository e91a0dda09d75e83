"""The vectors that an attention adds up: weight × value after the projection that follows, by head, and their norms.

Which column of the projection belongs to which channel of which head depends on how a network joins its heads. The
number of each channel is therefore carried along beside the output of the attention, through everything that only moves
numbers, until a linear layer reads them. The network computes what it computes otherwise.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from convscope.engine.attention.function_mode import reading_attention
from convscope.engine.attention.memory import images_at_a_time
from convscope.engine.attention.operations import AttentionOperation
from convscope.engine.attention.reading import SiteCounter, Visit
from convscope.engine.attention.sites import AttentionSite, find_attention
from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.inputs.specs import Images
from convscope.engine.network.accumulation_dtype import upcast
from convscope.engine.network.model import Model
from convscope.engine.ops.call import Call

_SAME_NUMBERS = frozenset({"dropout", "contiguous", "clone", "to", "float", "type_as", "identity", "alias", "detach"})
_SUMS = frozenset({"add", "sub"})
_MOVES = frozenset(
    {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "transpose", "swapaxes", "permute", "movedim"}
    | {"view_as", "reshape_as", "swapdims", "expand"}
)
"""Operations that move numbers and compute nothing."""


def read_norms(
    model: Model, images: Images, sites: Sequence[AttentionSite], visit: Visit, *, summed: bool
) -> list[AttentionSite]:
    """Hand over the norms (images, 1, windows, queries, keys) of what each key adds to each query.

    Args:
        summed: take the norm of the sum over heads, else the mean over heads of the norms.

    Returns:
        The sites behind which no linear layer reads their output as it is; nothing is handed over for them.
    """
    size = images_at_a_time(images.tensor[0], sites, copies=3, together=False)
    missing: set[AttentionSite] = set()

    def step(rows: Tensor) -> None:
        tensor = rows_of(images.tensor, rows)
        counter = SiteCounter(find_attention(model, tensor).sites)

        def hand_over(added: _Added, projection: Tensor) -> None:
            missing.discard(added.site)
            visit(added.site, added.norms(projection, summed=summed), rows)

        follower = _ChannelFollower(hand_over)

        def read(operation: AttentionOperation) -> Any:
            site = counter.next(operation)
            output = operation.run()
            if site in sites:
                missing.add(site)
                follower.follow(output, _channel_numbers(operation, site, output), _Added.of(operation, site))
            return output

        with torch.no_grad(), follower, reading_attention(model.module, read):
            model.run(model.input_copy(tensor))

    in_chunks(len(images), images.tensor[0], step, size=size)
    return [site for site in sites if site in missing]


@dataclass(frozen=True, eq=False)
class _Added:
    """What a site adds up.

    Attributes:
        weights: (images, heads, windows, queries, keys).
        values: (images, heads, windows, keys, channels).
    """

    site: AttentionSite
    weights: Tensor
    values: Tensor

    @classmethod
    def of(cls, operation: AttentionOperation, site: AttentionSite) -> "_Added":
        weights = upcast(site.by_image(operation.arrange.weights(operation.weights())))
        return cls(site, weights, upcast(site.by_image(operation.values)))

    def norms(self, projection: Tensor, *, summed: bool) -> Tensor:
        """The norms (images, 1, windows, queries, keys), for a projection (outputs, heads, channels)."""
        vectors = torch.einsum("nhwkc,ohc->nhwko", self.values, upcast(projection))
        if not summed:
            lengths = torch.linalg.vector_norm(vectors, dim=4)[:, :, :, None]
            means: Tensor = (self.weights * lengths).mean(1, keepdim=True)
            return means
        products = torch.einsum("nhwko,ngwko->nwkhg", vectors, vectors)
        mixed = torch.einsum("nhwqk,nwkhg->ngwqk", self.weights, products)
        norms: Tensor = (mixed * self.weights).sum(1, keepdim=True).clamp_min(0).sqrt()
        return norms


def _channel_numbers(operation: AttentionOperation, site: AttentionSite, output: Tensor) -> Tensor:
    """For each number of the output, the channel of which head it is, counted from the first head on."""
    numbers = torch.empty(output.shape, dtype=torch.long, device="cpu")
    arranged = operation.arrange.output(numbers)
    outer, inner = site.fold
    head_of_row = torch.zeros(outer * inner, dtype=torch.long, device="cpu")
    head_of_row[site.rows] = torch.arange(site.heads, device="cpu")[:, None]
    images = math.prod(arranged.shape[:-2]) // len(head_of_row)
    heads = head_of_row.view(outer, 1, inner).expand(outer, images, inner).reshape(*arranged.shape[:-2], 1, 1)
    arranged.copy_(heads * arranged.shape[-1] + torch.arange(arranged.shape[-1], device="cpu"))
    return numbers


class _ChannelFollower(TorchFunctionMode):
    """Carries the numbers of channels along with the output of an attention, until a linear layer reads it."""

    def __init__(self, hand_over: Callable[[_Added, Tensor], None]) -> None:
        super().__init__()
        self._hand_over = hand_over
        self._output: Tensor | None = None
        self._numbers, self._added = torch.empty(0, dtype=torch.long, device="cpu"), list[_Added]()

    def follow(self, output: Tensor, numbers: Tensor, added: _Added) -> None:
        """Begin with the output of an attention."""
        self._output, self._numbers, self._added = output, numbers, [added]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        call = Call(func, args, kwargs or {})
        result = call.run()
        if self._output is not None and any(tensor is self._output for tensor in call.tensors()):
            self._go_on(call, result)
        return result

    def _go_on(self, call: Call, result: Any) -> None:
        name, followed = call.name, self._output
        if name in _MOVES and isinstance(result, Tensor):
            numbers = self._numbers.contiguous()  # the network may have copied its tensor before it views it
            self._numbers = call.replaced(lambda t: numbers if t is followed else t).run()
            self._output = result
        elif name in _SAME_NUMBERS and isinstance(result, Tensor):
            self._output = result
        elif (columns := _weight_columns(call, followed)) is not None:
            self._output = None
            self._read_by(columns)
        elif name in _SUMS:  # beside a residual connection, without a projection
            self._output = None
            heads, channels = self._added[0].values.shape[1], self._added[0].values.shape[4]
            values = self._added[0].values
            identity = torch.eye(heads * channels, dtype=values.dtype, device=values.device)
            self._hand_over(self._added[0], identity.view(-1, heads, channels))

    def _read_by(self, columns: tuple[Tensor, int]) -> None:
        """A linear layer of weights (outputs, inputs) reads dimension ``dim`` of what was followed."""
        weight, dim = columns
        (added,) = self._added
        numbers = self._numbers.movedim(dim, -1).flatten(0, -2)
        heads, channels = added.values.shape[1], added.values.shape[4]
        if numbers.shape[1] != heads * channels or not bool((numbers == numbers[0]).all()):
            return
        order = numbers[0].argsort().to(weight.device)
        self._hand_over(added, weight[:, order].reshape(-1, heads, channels))


def _weight_columns(call: Call, followed: Tensor | None) -> tuple[Tensor, int] | None:
    """The weights (outputs, inputs) of a linear operation and the dimension that it reads; None for any other."""
    if call.name == "linear" and call.argument(0, "input") is followed:
        return call.argument(1, "weight"), -1
    if call.name in ("matmul", "mm") and call.args[0] is followed and call.args[1].ndim == 2:
        return call.args[1].mT, -1
    if call.name == "bmm" and call.args[0] is followed and 0 in (call.args[1].stride(0), len(call.args[1]) - 1):
        return call.args[1][0].mT, -1  # one matrix, repeated for each image
    if call.name == "addmm" and call.args[1] is followed:
        return call.args[2].mT, -1
    if call.name.startswith("conv") and call.argument(0, "input") is followed:
        weight = call.argument(1, "weight")
        if math.prod(weight.shape[2:]) == 1 and call.argument(6, "groups", 1) == 1:
            return weight.flatten(1), 1
    return None
