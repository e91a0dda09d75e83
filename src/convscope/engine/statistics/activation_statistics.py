"""What the numbers of every layer are like, gathered in one pass over any number of images, in constant memory.

Each layer's output is looked at the moment it is made. Maxima are of every number, so that a unit called dead is
dead; means are of at most `MEAN_POSITIONS` positions an image, evenly strewn; spread, shares and histograms of a few
positions an image, which walk over the map so that all have their turn. What a chunk showed is put aside when its
forward has succeeded and taken into the accounts a few chunks at a time; parts add up by the formula of Chan et al.
"""

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.data.data_set import Chunk, Dataset
from convscope.engine.data.sources import Label
from convscope.engine.layers.trace import all_images, calls_of, layout_at_call, traced
from convscope.engine.network.hooks import first_tensor, on_forward, stopping_at
from convscope.engine.network.packaged import hidden_layers, unreached
from convscope.engine.network.parametrized import kind_of
from convscope.engine.network.quantized import dequantized
from convscope.engine.statistics.largest_channels import largest
from convscope.engine.statistics.log_histogram import LogGrid
from convscope.errors import LayerError, NotFinite

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

KEPT = 128
"""Of how many images, the first, the mean of every channel is kept, to see which channels say the same."""

MEAN_POSITIONS, FEWEST_POSITIONS = 1024, 4
_SUPPOSED = 256
"""How many images a stream is taken to have that does not say."""

_TOGETHER = 32
"""How many images are taken into the accounts at once: many small operations become few."""

MOST_CLASSES = 64
"""Class-by-channel means are kept for so many classes, those met first."""

_AT_ONCE, _ROUGH = 512, 1e-4
"""How many channels are held against all others at once, and how far single precision may be off, generously."""

_RECTIFIERS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Threshold,
)  # fmt: skip
"""Activation functions behind which a channel that is never above zero is dead."""

_CUT: dict[type[nn.Module], tuple[float | None, ...]] = {nn.ReLU: (0, None), nn.ReLU6: (0, 6)}
"""Rectifiers that cut numbers off and change nothing else: the largest behind one follows from the largest before."""

CHANNEL_GRID = {"octaves": 12, "bits": 3}
LAYER_GRID = {"octaves": 16, "bits": 5}
_THINNED = 2**14
"""How many of a layer's sampled numbers of one chunk go into its own, finer histogram."""


@dataclass(frozen=True)
class Limits:
    """Where an activation function cannot go any further, and how near counts as being there."""

    low: float | None
    high: float | None
    near: float = 0.0

    def reached(self, values: Tensor) -> Tensor:
        """Whether each number lies at a limit."""
        at = torch.zeros_like(values, dtype=torch.bool)
        if self.low is not None:
            at |= values <= self.low + self.near
        if self.high is not None:
            at |= values >= self.high - self.near
        return at


def limits_of(module: nn.Module) -> Limits | None:
    """The limits of a saturating activation; the zero side of rectifiers is no limit but sparsity."""
    if isinstance(module, nn.Hardtanh):  # ReLU6 is one
        return Limits(None if isinstance(module, nn.ReLU6) else module.min_val, module.max_val)
    known: dict[type[nn.Module], Limits] = {
        nn.Sigmoid: Limits(0.0, 1.0, 0.05),
        nn.Tanh: Limits(-1.0, 1.0, 0.05),
        nn.Softsign: Limits(-1.0, 1.0, 0.05),
        nn.Hardsigmoid: Limits(0.0, 1.0),
        nn.Hardswish: Limits(None, None),
    }
    found = next((limits for kind, limits in known.items() if isinstance(module, kind)), None)
    return None if found is None or (found.low is None and found.high is None) else found


class Account:
    """The statistics of one layer so far, per channel.

    Attributes:
        images, count: how many images were seen, how many numbers were sampled of each channel.
        mean: of every number; ``high`` the largest of all, ``low`` the smallest sampled.
        counts: (C, bins) of the sampled numbers on ``grid``; ``fine`` (bins,) of the whole layer on ``fine_grid``.
        at_limit: how many sampled numbers lie at a limit of the activation.
        kept: (n, C), each channel's mean over the first images.
        classes: label → (images, sum of channel means); ``without`` the labels beyond `MOST_CLASSES`.
    """

    def __init__(self, address: str, module: nn.Module, shape: tuple[int, ...]) -> None:
        self.address, self.kind, self.shape = address, kind_of(module), shape
        self.limits, self.rectifies = limits_of(module), isinstance(module, _RECTIFIERS)
        self.images = self.count = self.positions = 0
        self.grid = self.fine_grid = LogGrid(1)
        self.mean = self.centre = self.squares = self.low = self.high = self.at_limit = torch.zeros(
            (), dtype=torch.float32, device="cpu"
        )
        self.counts = self.fine = torch.zeros((), dtype=torch.float32, device="cpu")
        self.kept: list[Tensor] = []
        self.classes: dict[Any, tuple[int, Tensor]] = {}
        self.without: set[Any] = set()

    def take(self, glimpse: "Glimpse", labels: Sequence[Label]) -> None:
        """Add what some images showed."""
        sample, means = glimpse.sample, glimpse.means.double()
        low, high = sample.amin(0), glimpse.high
        if not self.images:
            self._begin(glimpse, low)
        self.mean = self.mean + (means.mean(0) - self.mean) * (len(means) / (self.images + len(means)))
        self._take_spread(sample)
        self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        self._take_histograms(sample)
        if self.limits is not None:
            self.at_limit += self.limits.reached(sample).sum(0)
        if self.images < KEPT:
            self.kept.append(glimpse.means[: KEPT - self.images])
        self._take_classes(means, labels)
        self.images += len(means)

    def table(self, shares: Sequence[float]) -> Tensor:
        """One row per channel (C, 6 + quantiles), float64: mean, spread, smallest, the quantiles at ``shares``,
        largest, and the shares of zeros, of what is not above zero, and of what lies at a limit."""
        counts = self.counts.view(-1, self.grid.size)
        low, high = self.low.double(), self.high.double()
        wanted = torch.tensor(shares, dtype=torch.float64, device=low.device).expand(len(low), -1)
        quantiles = self.grid.quantiles(counts, wanted, low, high)
        zeros, below = counts[:, self.grid.side], counts[:, : self.grid.side].sum(1)
        parts = torch.stack([zeros, zeros + below, self.at_limit], 1).double() / self.count
        return torch.cat([torch.stack([self.mean, self.spread, low], 1), quantiles, high[:, None], parts], 1).cpu()

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The quantiles of the layer as a whole."""
        wanted = torch.tensor(shares, dtype=torch.float64, device=self.fine.device)
        found: list[float] = self.fine_grid.quantiles(self.fine, wanted, self.low.min(), self.high.max()).tolist()
        return found

    @property
    def spread(self) -> Tensor:
        """The standard deviation of each channel, of the sampled numbers."""
        return (self.squares / max(1, self.count)).sqrt()

    def _begin(self, glimpse: "Glimpse", low: Tensor) -> None:
        sample, channels = glimpse.sample, glimpse.sample.shape[1]
        largest = float(torch.maximum(low.abs().max(), glimpse.high.abs().max()))
        self.positions = glimpse.positions
        self.grid = LogGrid.reaching(largest, **CHANNEL_GRID)
        self.fine_grid = LogGrid.reaching(largest, **LAYER_GRID)
        zeros = torch.zeros(channels, dtype=torch.float64, device=sample.device)
        self.mean, self.centre, self.squares, self.at_limit = zeros, zeros, zeros, torch.zeros_like(zeros)
        self.low, self.high = low, glimpse.high
        self.counts = torch.zeros(channels * self.grid.size, dtype=torch.int32, device=sample.device)
        self.fine = torch.zeros(self.fine_grid.size, dtype=torch.int64, device=sample.device)

    def _take_spread(self, sample: Tensor) -> None:
        """Chan, Golub & LeVeque: sums of squares about the means of two parts give that of the whole."""
        count, centre = len(sample), sample.mean(0)
        about = sample - centre
        squares, centre = (about * about).sum(0).double(), centre.double()
        away, total = centre - self.centre, self.count + count
        self.squares = self.squares + squares + away * away * (self.count * count / total)
        self.centre = self.centre + away * (count / total)
        self.count = total

    def _take_histograms(self, sample: Tensor) -> None:
        offsets = torch.arange(sample.shape[1], device=sample.device, dtype=torch.int32) * self.grid.size
        places = self.grid.places(sample).add_(offsets).reshape(-1)
        self.counts.scatter_add_(0, places.long(), torch.ones_like(places))
        thinned = sample.reshape(-1)[:: _coprime(sample.shape[1], sample.numel() // _THINNED)]  # all channels in turn
        self.fine += torch.bincount(self.fine_grid.places(thinned), minlength=self.fine_grid.size)

    def _take_classes(self, means: Tensor, labels: Sequence[Label]) -> None:
        for label in dict.fromkeys(one for one in labels if one is not None):
            if label not in self.classes and len(self.classes) == MOST_CLASSES:
                self.without.add(label)
                continue
            rows = [row for row, one in enumerate(labels) if one == label]
            images, summed = self.classes.get(label, (0, torch.zeros_like(means[0])))
            self.classes[label] = (images + len(rows), summed + means[rows].sum(0))


@dataclass(frozen=True)
class Glimpse:
    """What one layer showed of some images.

    Attributes:
        means: (N, C), of many positions; ``high`` (C,): the largest of all.
        sample: (n, C), a few positions of every image.
        positions: how many there are in the map.
    """

    module: nn.Module
    shape: tuple[int, ...]
    means: Tensor
    high: Tensor
    sample: Tensor
    positions: int

    def moved_to(self, other: "Glimpse") -> "Glimpse":
        """The same numbers in the memory of another one, as far as they fit."""
        pairs = {part: (getattr(self, part), getattr(other, part)) for part in ("means", "high", "sample")}
        fitting = {part: (own, room) for part, (own, room) in pairs.items() if own.shape == room.shape}
        return replace(self, **{part: room.copy_(own) for part, (own, room) in fitting.items()})

    @classmethod
    def joined(cls, several: Sequence["Glimpse"]) -> "Glimpse":
        """What the layer showed of all these images."""
        high = torch.stack([one.high for one in several]).amax(0)
        means, sample = (torch.cat([getattr(one, part) for one in several]) for part in ("means", "sample"))
        return replace(several[0], means=means, high=high, sample=sample)


class Observer:
    """Looks at the layers asked for while the network runs, one chunk after another.

    Args:
        samples: how many numbers of each channel are wanted over all ``images``.
    """

    def __init__(self, model: "Model", addresses: Iterable[str], *, samples: int, images: int | None) -> None:
        self.model, self.addresses = model, tuple(dict.fromkeys(addresses))
        self.per_image = max(FEWEST_POSITIONS, -(-samples // (images or _SUPPOSED)))
        self.accounts: dict[str, Account] = {}
        self._aside: dict[str, list[Glimpse]] = {}
        self._spare: dict[str, list[Glimpse]] = {}
        """What was taken into the accounts: its memory serves again, and lies in no gaps that a forward needs."""
        self._just_seen: tuple[Any, int, Tensor] | None = None
        """The last layer's output, how often it had been written to, and the largest of each channel."""
        self._labels: list[Label] = []
        self.odd: dict[str, str] = {}
        """Layers that cannot be read channel by channel, and why."""

    def look(self, chunk: Chunk) -> None:
        """Run the network on one chunk and take what its layers showed."""
        seen: dict[str, Glimpse] = {}
        last, calls = self._last(chunk.tensor)
        with ExitStack() as hooks, torch.no_grad():
            for address in self.addresses:
                handle = on_forward(self.model.module, address, self._watch(address, chunk, seen))
                hooks.callback(handle.remove)
            hooks.enter_context(stopping_at(self.model.module, last, call=calls))
            self.model.run(self.model.laid_out(chunk.tensor))
        if seen:
            self._refuse_broken(seen, chunk)
        for name, glimpse in seen.items():
            self._aside.setdefault(name, []).append(glimpse)
        self._labels += chunk.labels or (None,) * len(chunk)
        if len(self._labels) >= _TOGETHER:
            self.settle()

    def settle(self) -> None:
        """Take what was put aside into the accounts."""
        for name, several in self._aside.items():
            glimpse = Glimpse.joined(several)
            if name not in self.accounts:
                self.accounts[name] = Account(name, glimpse.module, glimpse.shape)
            self.accounts[name].take(glimpse, self._labels)
        self._spare, self._aside, self._labels = self._aside, {}, []

    def _watch(self, address: str, chunk: Chunk, seen: dict[str, Glimpse]) -> Any:
        calls = 0

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal calls
            calls += 1
            tensor = first_tensor(output)
            name = address if calls == 1 else f"{address}, call {calls}"
            if tensor is None or not (tensor.is_floating_point() or tensor.is_quantized):
                self.odd[name] = _no_real_numbers(tensor)
                return
            layout = layout_at_call(self.model, address, chunk.tensor, calls)
            if layout is None or tensor.numel() == 0 or tensor.ndim != len(layout.shape) - layout.unbatched:
                self.odd[name] = "what these give is not made of one part per image"
                return
            tensor = all_images(layout, address, len(chunk), dequantized(tensor.detach()))
            numbers = layout.by_channel(tensor)
            high = self._rectified(module, inputs, tensor)
            high = largest(numbers).amax(0).float() if high is None else high
            self._just_seen = None if tensor.is_inference() else (weakref.ref(tensor), tensor._version, high)
            place, spare = len(self._aside.get(name, ())), self._spare.get(name, ())
            glimpse = self._glimpse(module, tensor, numbers, high, chunk.places)
            seen[name] = glimpse.moved_to(spare[place]) if place < len(spare) else glimpse

        return hook

    def _rectified(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        """The largest numbers behind a rectifier, where those of what it was given are known."""
        limits = _CUT.get(type(module))
        if limits is None or self._just_seen is None or not inputs:
            return None
        given, written, high = self._just_seen
        if given() is not inputs[0] or inputs[0]._version != written + (output is inputs[0]):
            return None
        return high.clamp(*limits)

    def _glimpse(
        self, module: nn.Module, tensor: Tensor, numbers: Tensor, high: Tensor, places: tuple[int, ...]
    ) -> Glimpse:
        positions = numbers.shape[2]
        step = _coprime(positions, positions // MEAN_POSITIONS) if positions > MEAN_POSITIONS else 1
        means = numbers[:, :, step // 2 :: step].mean(2, dtype=torch.float32)
        sample = _sampled(numbers, self.per_image, places)
        return Glimpse(module, tuple(tensor.shape[1:]), means, high, sample, positions)

    def _last(self, tensor: Tensor) -> tuple[str, int]:
        """The layer asked for that finishes last, and how often it runs."""
        order = traced(self.model, tensor).order
        reached = [address for address in self.addresses if address in order]
        if not self.addresses:
            raise LayerError(
                f"{self.model.name} has no layers within it whose outputs could be described"
                + hidden_layers(self.model.module, "layers")
            )
        if not reached:
            raise LayerError(unreached(self.model.module, self.addresses[0]))
        last = max(reached, key=lambda address: len(order) - order[::-1].index(address))
        return last, calls_of(self.model, last, tensor)

    def _refuse_broken(self, seen: Mapping[str, Glimpse], chunk: Chunk) -> None:
        """Name the first layer that gives NaN or infinity; one look at the device for all layers."""
        sums = torch.stack([(one.high.sum() + one.means.sum()).double() for one in seen.values()])
        sound = torch.isfinite(sums).tolist()
        if not all(sound):
            name = list(seen)[sound.index(False)]
            raise NotFinite(f"layer {name!r} gives NaN or infinite numbers, the first layer that does", images=chunk)


def _no_real_numbers(tensor: Tensor | None) -> str:
    """Why a layer has no statistics: it gives no tensor, or one of numbers that are not real."""
    if tensor is None:
        return "these give no tensor"
    kind = str(tensor.dtype).removeprefix("torch.")
    return f"these give {'complex' if tensor.is_complex() else 'whole'} numbers ({kind})"


def observed(model: "Model", images: Dataset, addresses: Iterable[str], *, samples: int) -> Observer:
    """The statistics of layers over a data set."""
    observer = Observer(model, addresses, samples=samples, images=images.size)
    images.each(observer.look)
    observer.settle()
    if not observer.accounts:
        raise LayerError(f"no layer can be described: {reasons(observer.odd)}; choose another layer")
    return observer


def reasons(odd: Mapping[str, str]) -> str:
    """Which layers are left out, and why."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in odd.items():
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())


def duplicates(kept: Tensor, least: float) -> list[tuple[int, int, float]]:
    """Pairs of channels whose means over images correlate by more than ``least``, the closest first.

    Args:
        kept: (images, C); fewer than eight images say nothing, and constant channels are no one's twin.
    """
    if len(kept) < 8:
        return []
    about = kept.double() - kept.double().mean(0)
    norms = about.norm(dim=0)
    alive = norms > 1e-6 * kept.double().norm(dim=0).clamp_min(1e-30)
    units = torch.where(alive, about / norms.clamp_min(1e-30), torch.zeros((), dtype=torch.float64, device="cpu"))
    pairs = [pair for start in range(0, units.shape[1], _AT_ONCE) for pair in _alike(units, start, least)]
    return sorted(pairs, key=lambda pair: -pair[2])


def _alike(units: Tensor, start: int, least: float) -> list[tuple[int, int, float]]:
    """The pairs of some channels and those behind them: suspected in single precision, tried in double."""
    rough = units[:, start:].float()
    near = rough[:, :_AT_ONCE].T @ rough
    near.fill_diagonal_(0.0)
    one = (near.amax(1) > least - _ROUGH).nonzero().flatten()
    if not len(one):
        return []
    other = (near[one] > least - _ROUGH).any(0).nonzero().flatten()
    alike = units[:, start + one].T @ units[:, start + other]
    found = (alike > least) & (one[:, None] < other)
    rows, columns = found.nonzero().unbind(1)
    firsts, seconds = (start + one[rows]).tolist(), (start + other[columns]).tolist()
    return list(zip(firsts, seconds, alike[rows, columns].tolist(), strict=True))


def _sampled(numbers: Tensor, wanted: int, places: tuple[int, ...]) -> Tensor:
    """``wanted`` positions of each image (n, C), a copy; over the images all positions have their turn."""
    images, channels, positions = numbers.shape
    if wanted >= positions:
        return numbers.transpose(1, 2).reshape(-1, channels).clone().float()
    stride = _coprime(positions, round(0.618 * positions))
    first = torch.tensor(places, device=numbers.device)[:, None] * wanted
    turn = (first + torch.arange(wanted, device=numbers.device)) * stride % positions
    rows = torch.arange(images, device=numbers.device)[:, None]
    return numbers.transpose(1, 2)[rows, turn].reshape(-1, channels).float()


def _coprime(positions: int, about: int) -> int:
    """A step of at least ``about`` that visits each position once before any twice."""
    step = max(1, about)
    while math.gcd(step, positions) != 1:
        step += 1
    return step
