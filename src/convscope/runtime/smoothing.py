"""Averages any attribution over perturbed copies of the image: mean, spread, and agreement of signs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from convscope.engine.context.chunking import chunk_size
from convscope.engine.context.metering import report_progress, reporting
from convscope.engine.inputs.specs import Images
from convscope.engine.run.perturbed_samples import noisy
from convscope.errors import ParameterError
from convscope.spec import SMOOTH
from convscope.values import Attribution
from convscope.values.facts import Fact

Augment = Literal["noise", "views"]
Statistic = Literal["mean", "mean-square", "variance"]

_SHIFT = 1 / 16
"""The largest shift of a view, as a share of each side."""


@dataclass(frozen=True)
class Smooth:
    """Average a lens over copies of the image.

    Args:
        samples: how many copies.
        augment: ``noise`` adds normal noise; ``views`` mirrors and shifts at random, and aligns the maps again.
        sigma: standard deviation of the noise, as a fraction of the image's range.
        seed: of the random numbers.
        of: the statistic over the copies, element by element: their ``mean``, the mean of their squares (as in
            SmoothGrad²) or their ``variance`` (as in VarGrad); the last two are never negative.
    """

    samples: int = 16
    augment: Augment = "noise"
    sigma: float = 0.1
    seed: int = 0
    of: Statistic = "mean"

    def __post_init__(self) -> None:
        SMOOTH.check(self.samples)
        if self.augment not in get_args(Augment):
            raise ParameterError(f"augment must be noise or views, got {self.augment!r}")
        if self.of not in get_args(Statistic):
            raise ParameterError(
                f"what is taken over the copies must be mean, mean-square or variance, got {self.of!r}"
            )
        if not isinstance(self.sigma, (int, float)) or not 0 < self.sigma <= 2:
            raise ParameterError(
                f"sigma must be above 0 and at most 2 (fraction of the image's range), got {self.sigma!r}"
            )


def as_smooth(argument: Any, statistic: Any = None) -> Smooth | None:
    """The argument ``smooth=`` (nothing, a number of copies or a `Smooth`) with ``smooth_of=`` as its statistic."""
    if argument is None and statistic not in (None, "mean"):
        raise ParameterError(f"smooth_of={statistic!r} takes something over noisy copies: say how many with smooth=16")
    if isinstance(argument, Smooth):
        return argument if statistic is None else replace(argument, of=statistic)
    if argument is None:
        return None
    if isinstance(argument, bool) or not isinstance(argument, int):
        raise ParameterError(f"smooth is a number of copies or cs.Smooth(samples=…, augment=…), got {argument!r}")
    return Smooth(samples=argument, of=statistic or "mean")


Explain = Callable[[Images, Tensor], list[Attribution]]
"""``(copies, rows) -> attributions``: apply the lens to copies, of which copy ``i`` belongs to image ``rows[i]``."""


def smoothed(images: Images, smooth: Smooth, explain: Explain) -> list[Attribution]:
    """One attribution per image: the statistic over its copies, with ``spread`` and ``sign agreement`` as maps.

    Copies pass through the lens a chunk at a time, and only sums are kept.
    """
    copies = _NoisyCopies(images, smooth) if smooth.augment == "noise" else _Views(images, smooth)
    sums = [_Sums() for _ in range(len(images))]
    total, size = len(images) * smooth.samples, chunk_size(images.tensor[0])
    for begin in range(0, total, size):
        flat = torch.arange(begin, min(begin + size, total), device="cpu")
        rows, numbers = flat // smooth.samples, flat % smooth.samples
        tensor = copies.perturbed(rows, numbers)
        with reporting(None):
            attributions = explain(_copied(images, tensor, rows), rows)
        for row, number, attribution in zip(rows.tolist(), numbers.tolist(), attributions, strict=True):
            sums[row].add(copies.aligned(attribution, number))
        report_progress(min(begin + size, total), total)
    return [sums_of_image.result(smooth, images, row) for row, sums_of_image in enumerate(sums)]


def _copied(images: Images, tensor: Tensor, rows: Tensor) -> Images:
    return replace(images, tensor=tensor, names=tuple(images.names[row] for row in rows.tolist()), single=False)


class _NoisyCopies:
    """Copies with normal noise; copy ``k`` of every image has the same noise."""

    def __init__(self, images: Images, smooth: Smooth) -> None:
        self.perturbed = noisy(images, sigma=smooth.sigma, seed=smooth.seed)

    def aligned(self, attribution: Attribution, number: int) -> Attribution:
        return attribution


class _Views:
    """Copies that are mirrored along the last axis and shifted along all axes, wrapping around."""

    def __init__(self, images: Images, smooth: Smooth) -> None:
        images.require_spatial_axes("views mirror and shift the input")
        self.images = images
        generator = torch.Generator().manual_seed(smooth.seed)
        chances = torch.rand(smooth.samples, generator=generator, dtype=torch.float32, device="cpu")
        self.mirrored = (chances < 0.5).tolist()
        largest = [max(1, round(side * _SHIFT)) for side in images.extent]
        self.shifts = [
            [int(torch.randint(-limit, limit + 1, (), generator=generator, device="cpu")) for limit in largest]
            for _ in range(smooth.samples)
        ]
        self.mirrored[0], self.shifts[0] = False, [0] * len(largest)  # the first view is the unchanged image

    def perturbed(self, rows: Tensor, numbers: Tensor) -> Tensor:
        axes = list(range(1, 1 + len(self.images.extent)))
        views = []
        for row, number in zip(rows.tolist(), numbers.tolist(), strict=True):
            view = self.images.tensor[row].roll(self.shifts[number], axes)
            views.append(view.flip(-1) if self.mirrored[number] else view)
        return torch.stack(views)

    def aligned(self, attribution: Attribution, number: int) -> Attribution:
        """The maps of a view, mirrored and shifted back onto the image."""

        def undo(tensor: Tensor | None) -> Tensor | None:
            if tensor is None:
                return None
            unmirrored = tensor.flip(-1) if self.mirrored[number] else tensor
            axes = list(range(-len(self.images.extent), 0))
            return unmirrored.roll([-shift for shift in self.shifts[number]], axes)

        values = undo(attribution.values)
        assert values is not None
        return replace(attribution, values=values, channels=undo(attribution.channels), layer_values={})


class _Sums:
    """Running sums over the maps of one image's copies."""

    def __init__(self) -> None:
        self.count = 0
        self.first: Attribution | None = None

    def add(self, attribution: Attribution) -> None:
        parts = {"values": attribution.values, "channels": attribution.channels, **attribution.layer_values}
        maps = {name: part.double() for name, part in parts.items() if part is not None}
        if self.first is None:
            self.first, self.sums = attribution, {name: torch.zeros_like(part) for name, part in maps.items()}
            self.squares = {name: torch.zeros_like(part) for name, part in maps.items()}
            self.positive, self.negative = (torch.zeros_like(maps["values"]) for _ in range(2))
            self.offsets = maps  # deviations from the first copy stay small where maps hardly vary
        for name, part in maps.items():
            self.sums[name] += part
            self.squares[name] += (part - self.offsets[name]).square()
        self.positive += maps["values"] > 0
        self.negative += maps["values"] < 0
        self.count += 1

    def result(self, smooth: Smooth, images: Images, row: int) -> Attribution:
        assert self.first is not None, "every image has copies"
        copies = (
            Fact("{count} noisy copies", count=self.count)
            if smooth.augment == "noise"
            else Fact("{count} mirrored and shifted views", count=self.count)
        )
        means = {name: (part / self.count).float() for name, part in self.sums.items()}
        variances = {name: self._variance(name) for name in self.sums}
        if smooth.of != "mean":
            return self._squared(smooth, images, row, means, variances, copies)
        spread = variances["values"].sqrt().float()
        agreement = torch.where(means["values"] > 0, self.positive, self.negative) / self.count
        zero_share = 1 - (self.positive + self.negative) / self.count
        agreement = torch.where(means["values"] == 0, zero_share, agreement)
        averaged = replace(
            self.first,
            values=means["values"],
            channels=means.get("channels"),
            layer_values={name: means[name] for name in self.first.layer_values},
            uncertainty={"spread": spread, "sign agreement": agreement.float()},
            photo=images.photo(row),  # type: ignore[arg-type]
            matches={},  # those of the first copy
        )
        return _with_notes(averaged, copies)

    def _variance(self, name: str) -> Tensor:
        deviation = self.sums[name] / self.count - self.offsets[name]
        return (self.squares[name] / self.count - deviation.square()).clamp_min(0)

    def _squared(
        self,
        smooth: Smooth,
        images: Images,
        row: int,
        means: Mapping[str, Tensor],
        variances: Mapping[str, Tensor],
        copies: Fact,
    ) -> Attribution:
        """The mean of squares, or the variance, of every element."""
        assert self.first is not None, "every image has copies"
        squares = smooth.of == "mean-square"
        maps = {n: (v + means[n].double().square() if squares else v).float() for n, v in variances.items()}
        statistic = (
            Fact("the mean of squares over {copies}", copies=copies)
            if squares
            else Fact("the variance over {copies}", copies=copies)
        )
        spread = replace(
            self.first,
            values=maps["values"],
            channels=maps.get("channels"),
            layer_values={name: maps[name] for name in self.first.layer_values},
            uncertainty={},
            signed=False,
            photo=images.photo(row),  # type: ignore[arg-type]
            matches={},  # those of the first copy
        )
        return _with_notes(spread, statistic)


def _with_notes(attribution: Attribution, statistic: Fact) -> Attribution:
    """The attribution with what it is, and why it is zero everywhere, if it is."""
    blank = {"blank": Fact("the map is zero for all of the {copies}", copies=statistic)} if attribution.blank else {}
    return replace(attribution, notes={"averaged over": statistic, **blank})
