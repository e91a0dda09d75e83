"""The sites of a network: every operation that attends, in order, with the places of its tokens.

One recorded forward pass finds them, once per shape of the input.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from convscope.engine.attention.function_mode import reading_attention
from convscope.engine.attention.operations import Arrangement, AttentionOperation
from convscope.engine.attention.token_grid import NoTokenGrid, Tokens, find_tokens
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.forward_graph import unobserved
from convscope.engine.graph.recorder import Recorder
from convscope.engine.network.assumption_checks import companion_image, jittered
from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.model import Model
from convscope.engine.network.scripted_modules import is_scripted
from convscope.errors import LayerError, ModelFailed, OutputError

Shape = tuple[int, ...]

OWN_FORWARD = "forward"
"""The name of a site in the network's own forward, outside its modules."""


class Located(Protocol):
    """What has a place in the network."""

    @property
    def address(self) -> str:
        """The address of its module."""


Item = TypeVar("Item", bound=Located)


def within_layers(items: Sequence[Item], addresses: Sequence[str], lacking: str) -> tuple[Item, ...]:
    """The items in these modules, or in modules within them, in their own order.

    Args:
        lacking: what is said of a module that has none.

    Raises:
        LayerError: none is in one of them.
    """
    chosen: list[Item] = []
    for address in addresses:
        inside = [item for item in items if item.address == address or item.address.startswith(f"{address}.")]
        if not inside:
            known = ", ".join(dict.fromkeys(item.address or OWN_FORWARD for item in items))
            raise LayerError(f"layer {address!r} {lacking}: choose one of {known}")
        chosen += inside
    return tuple(item for item in items if item in chosen)


@dataclass(frozen=True, eq=False)
class AttentionSite:
    """One operation of the forward pass that attends.

    Attributes:
        name: the address of its module; with ``#2`` and so on for further operations of the same module.
        address: the address of its module.
        queries, keys: the tokens that attend, and those that are attended to.
        heads, windows: how many heads it has, and in how many windows tokens attend to each other; usually one.
        fold: how images lie among its rows: blocks of all images, and how often each image is repeated in a row.
        rows: of one image, the row of every head and window (heads, windows).
        no_grid: why the places of its tokens are not known; empty where they are.
    """

    name: str
    address: str
    queries: Tokens
    keys: Tokens
    heads: int
    windows: int
    fold: tuple[int, int]
    rows: Tensor
    no_grid: str = ""

    @property
    def numbers(self) -> int:
        """How many weights it has for one image."""
        return self.heads * self.windows * self.queries.index.shape[1] * self.keys.index.shape[1]

    def by_image(self, weights: Tensor) -> Tensor:
        """Weights by rows (rows …, queries, keys) as (images, heads, windows, queries, keys)."""
        outer, inner = self.fold
        tokens = weights.shape[-2:]
        flat = weights.reshape(outer, -1, inner, *tokens).transpose(0, 1).flatten(1, 2)
        if self.windows == 1 and torch.equal(self.rows[:, 0], torch.arange(self.heads, device="cpu")):
            return flat[:, :, None]
        chosen = flat[:, self.rows.flatten().to(flat.device)]
        return chosen.reshape(len(flat), self.heads, self.windows, *tokens)


@dataclass(frozen=True)
class Attentions:
    """The sites of a network in the order in which they run, and what looks like attention but is not read.

    Attributes:
        unread: by address, why.
        images: how many images the recorded pass had: two, or one where the network takes no pair.
    """

    sites: tuple[AttentionSite, ...]
    unread: dict[str, str]
    images: int = 1

    def named(self, addresses: Sequence[str]) -> tuple[AttentionSite, ...]:
        """The sites in these modules, or in modules within them.

        Raises:
            LayerError: none is in one of them.
        """
        return within_layers(self.sites, addresses, "does not attend")


@dataclass(frozen=True, eq=False)
class _Observation:
    """What one operation showed: its tensors' shapes and where their values come from."""

    address: str
    shape: Shape
    arrange: Arrangement
    output_shape: Shape
    value_shape: Shape
    output: tuple[Dependence, ...] | None
    value: tuple[Dependence, ...] | None


_ATTENTIONS: CacheEntry[dict[Shape, Attentions]] = CacheEntry("attentions", dict)
"""The sites, by the shape of an input."""


def find_attention(model: Model, tensor: Tensor) -> Attentions:
    """The sites of the network for inputs like ``tensor`` (N, C, …)."""
    key = tuple(tensor.shape[1:])
    if key not in model.cache[_ATTENTIONS]:
        model.cache[_ATTENTIONS][key] = _find(model, jittered(tensor[:1]))
    return model.cache[_ATTENTIONS][key]


def why_no_attention(model: Model, tensor: Tensor) -> str:
    """Why the network has no attention that can be read, as a clause about it; empty where it has."""
    attentions = find_attention(model, tensor)
    if attentions.sites:
        return ""
    unread = {**attentions.unread}
    scripted = model.scripted_part()
    if scripted is not None:
        unread[scripted] = "it is scripted or traced (torch.jit): open the network from its source"
    reasons = "; ".join(f"{address or OWN_FORWARD!r} is not read, {why}" for address, why in unread.items())
    return f"has none ({reasons or 'no softmax weighs any values'})"


def _find(model: Model, image: Tensor) -> Attentions:
    """Record a forward pass of a pair of images, or of one where the network takes no pair."""
    if is_scripted(model.module):
        return Attentions((), {})
    try:
        observations, unread = _observe(model, torch.cat([companion_image(image, bold=True), image]))
        images = 2
    except (ModelFailed, OutputError):
        (observations, unread), images = _observe(model, image), 1
    numbers, sites = Counter[str](), []
    for observation in observations:
        numbers[observation.address] += 1
        number = numbers[observation.address]
        name = (observation.address or OWN_FORWARD) + (f"#{number}" if number > 1 else "")
        sites.append(_to_site(name, observation, images))
    inside = {site.address for site in sites}
    return Attentions(tuple(sites), {**_silent_modules(model.module, inside), **unread}, images)


def _observe(model: Model, tensor: Tensor) -> tuple[list[_Observation], dict[str, str]]:
    recorder, observations = Recorder(model.module), list[_Observation]()

    def observe(operation: AttentionOperation) -> Any:
        output = operation.run()
        origins = [recorder.origin(each) for each in (output, operation.value)]
        dependences = [None if origin is None else origin.dependence for origin in origins]
        observations.append(
            _Observation(
                operation.address,
                operation.shape,
                operation.arrange,
                tuple(output.shape),
                tuple(operation.value.shape),
                *dependences,
            )
        )
        return output

    def restart(network_input: Tensor) -> None:
        recorder.start(network_input)
        observations.clear()

    tensor = model.input_copy(tensor)
    recorder.start(tensor)
    with ExitStack() as stack:
        if model.binding is None:  # else the tensor is no argument of the module, but is turned into some
            stack.enter_context(_on_start(model.module, restart))
        stack.enter_context(torch.no_grad())
        mode = stack.enter_context(reading_attention(model.module, observe))
        model.run_recorded(tensor, recorder)
    return observations, mode.unread


@contextmanager
def _on_start(module: nn.Module, restart: Callable[[Tensor], None]) -> Iterator[None]:
    """Call ``restart`` with what the network receives, whenever it starts: positions refer to that tensor."""

    @unobserved
    def start(_module: nn.Module, args: Any) -> None:
        restart(args[0])

    handle = module.register_forward_pre_hook(start, prepend=True)
    try:
        yield
    finally:
        handle.remove()


def _to_site(name: str, observation: _Observation, images: int) -> AttentionSite:
    queries = _positions(observation.output, observation.output_shape, observation.arrange.output)
    keys = _positions(observation.value, observation.value_shape, observation.arrange.values)
    image_of_row = next((side[-1][:, 0] for side in (keys, queries) if side), None)
    fold = _fold(image_of_row, images, math.prod(observation.shape[:-2]))
    total = fold[0] * fold[1]
    token_counts = observation.shape[-2:]
    first = [_of_first_image(side, fold, images) for side in (queries, keys)]
    windows = _windows(first, total)
    heads = total // len(windows)
    no_grid, sides = "", []
    for side, count in zip(first, token_counts, strict=True):
        try:
            sides.append(_tokens_of(side, [members[0] for members in windows], count))
        except NoTokenGrid as error:
            no_grid = no_grid or str(error)
            sides.append(_unplaced(len(windows), count))
    rows = torch.tensor(windows, device="cpu").T.contiguous()
    return AttentionSite(name, observation.address, sides[0], sides[1], heads, len(windows), fold, rows, no_grid)


def _positions(dependence: tuple[Dependence, ...] | None, shape: Shape, arrange: Any) -> list[Tensor]:
    """Along each axis of the input and last along the batch, the position of each token (rows, tokens)."""
    if dependence is None:
        return []
    arranged = [arrange(axis.position.expand(shape))[..., 0] for axis in dependence]
    return [positions.reshape(-1, positions.shape[-1]) for positions in arranged]


def _fold(image_of_row: Tensor | None, images: int, rows: int) -> tuple[int, int]:
    """How many blocks of all images the rows hold, and how often each image is repeated in a row."""
    per_image = rows // images
    if images > 1 and image_of_row is not None:
        for inner in range(per_image, 0, -1):
            if per_image % inner == 0:
                expected = torch.arange(images, device="cpu").repeat_interleave(inner).repeat(per_image // inner)
                if torch.equal(image_of_row.long(), expected):
                    return per_image // inner, inner
    return 1, per_image


def _of_first_image(positions: list[Tensor], fold: tuple[int, int], images: int) -> list[Tensor]:
    """The positions (rows of one image, tokens) along each axis of the input."""
    outer, inner = fold
    return [p.reshape(outer, images, inner, -1)[:, 0].flatten(0, 1) for p in positions[:-1]]


def _windows(sides: Sequence[list[Tensor]], rows: int) -> list[list[int]]:
    """The rows of each window: heads attend among the same tokens, windows among different ones."""
    columns = [positions for side in sides for positions in side]
    if not columns:
        return [list(range(rows))]
    window_of_row = torch.unique(torch.cat(columns, 1), dim=0, return_inverse=True)[1].tolist()
    windows: dict[int, list[int]] = {}
    for row, window in enumerate(window_of_row):
        windows.setdefault(window, []).append(row)
    members = list(windows.values())
    return members if len({len(each) for each in members}) == 1 else [list(range(rows))]


def _tokens_of(side: list[Tensor], rows: list[int], count: int) -> Tokens:
    if not side:
        return _unplaced(len(rows), count)
    return find_tokens([positions[rows] for positions in side])


def _unplaced(windows: int, count: int) -> Tokens:
    """Tokens of which no place is known."""
    return Tokens((), count, torch.arange(count, device="cpu").expand(windows, count))


def _silent_modules(module: nn.Module, inside: set[str]) -> dict[str, str]:
    """The innermost modules that are named after attention and in which none was read."""
    named = [a for a, m in module.named_modules() if any(w in type(m).__name__.lower() for w in ("attention", "attn"))]
    return {
        address: f"{type(module.get_submodule(address)).__name__} weighs no values by a softmax over tokens"
        for address in named
        if not any(site == address or site.startswith(f"{address}.") for site in inside)
        and not any(address.startswith(f"{site}.") for site in inside)
        and not any(other.startswith(f"{address}.") for other in named)
    }
