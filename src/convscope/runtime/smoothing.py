"""Any attribution averaged over disturbed copies of the image: its mean, its spread, and how far signs agree."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from convscope.engine.context.chunking import chunk_size
from convscope.engine.context.metering import progress, reporting
from convscope.engine.inputs.specs import Images
from convscope.engine.run.perturbed_samples import noisy
from convscope.errors import ParameterError
from convscope.spec import SMOOTH
from convscope.values import Attribution

Augment = Literal["noise", "views"]
Of = Literal["mean", "mean-square", "variance"]

_SHIFT = 1 / 16
"""How far a view is moved at most, as a share of each side."""


@dataclass(frozen=True)
class Smooth:
    """Average a lens over copies of the image.

    Args:
        samples: how many copies.
        augment: ``noise`` adds normal noise; ``views`` mirrors and shifts at random and brings the maps back.
        sigma: spread of the noise, as a fraction of the image's range.
        seed: of what is drawn.
        of: what is taken over the copies, number by number: their ``mean``, the mean of their squares (as SmoothGrad²
            does) or their ``variance`` (as VarGrad does), both never below zero.
    """

    samples: int = 16
    augment: Augment = "noise"
    sigma: float = 0.1
    seed: int = 0
    of: Of = "mean"

    def __post_init__(self) -> None:
        SMOOTH.check(self.samples)
        if self.augment not in get_args(Augment):
            raise ParameterError(f"augment must be noise or views, got {self.augment!r}")
        if self.of not in get_args(Of):
            raise ParameterError(
                f"what is taken over the copies must be mean, mean-square or variance, got {self.of!r}"
            )
        if not isinstance(self.sigma, (int, float)) or not 0 < self.sigma <= 2:
            raise ParameterError(
                f"sigma must be above 0 and at most 2 (fraction of the image's range), got {self.sigma!r}"
            )


def as_smooth(given: Any, of: Any = None) -> Smooth | None:
    """What people pass as ``smooth=``: nothing, a number of copies, a `Smooth`; ``of`` is ``smooth_of=``."""
    if given is None and of not in (None, "mean"):
        raise ParameterError(f"smooth_of={of!r} takes something over noisy copies: say how many with smooth=16")
    if isinstance(given, Smooth):
        return given if of is None else replace(given, of=of)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int):
        raise ParameterError(f"smooth is a number of copies or cs.Smooth(samples=…, augment=…), got {given!r}")
    return Smooth(samples=given, of=of or "mean")


Look = Callable[[Images, Tensor], list[Attribution]]
"""``(copies, rows) -> attributions``: look through the lens at copies, of image ``rows[i]`` each."""


def smoothed(images: Images, how: Smooth, look: Look) -> list[Attribution]:
    """One attribution per image: the mean over its copies, with ``spread`` and ``sign agreement`` as maps.

    Copies go through the lens a chunk at a time, and only sums are kept.
    """
    copies = _Noise(images, how) if how.augment == "noise" else _Views(images, how)
    sums: list[_Sum] = [_Sum() for _ in range(len(images))]
    total, size = len(images) * how.samples, chunk_size(images.tensor[0])
    for begin in range(0, total, size):
        flat = torch.arange(begin, min(begin + size, total), device="cpu")
        rows, numbers = flat // how.samples, flat % how.samples
        tensor = copies.drawn(rows, numbers)
        with reporting(None):
            found = look(_copied(images, tensor, rows), rows)
        for row, number, one in zip(rows.tolist(), numbers.tolist(), found, strict=True):
            sums[row].add(copies.brought_back(one, number))
        progress(min(begin + size, total), total)
    return [one.mean(how, images, row) for row, one in enumerate(sums)]


def _copied(images: Images, tensor: Tensor, rows: Tensor) -> Images:
    return replace(images, tensor=tensor, names=tuple(images.names[row] for row in rows.tolist()), single=False)


class _Noise:
    """Copies under normal noise, copy ``k`` of every image under the same."""

    def __init__(self, images: Images, how: Smooth) -> None:
        self.drawn = noisy(images, sigma=how.sigma, seed=how.seed)

    def brought_back(self, one: Attribution, number: int) -> Attribution:
        return one


class _Views:
    """Copies mirrored along the last axis and shifted along all, wrapping around."""

    def __init__(self, images: Images, how: Smooth) -> None:
        self.images = images
        drawn = torch.Generator().manual_seed(how.seed)
        self.mirrored = (torch.rand(how.samples, generator=drawn, dtype=torch.float32, device="cpu") < 0.5).tolist()
        reach = [max(1, round(side * _SHIFT)) for side in images.extent]
        self.shifts = [
            [int(torch.randint(-r, r + 1, (), generator=drawn, device="cpu")) for r in reach]
            for _ in range(how.samples)
        ]
        self.mirrored[0], self.shifts[0] = False, [0] * len(reach)  # the image as it is, is one of the views

    def drawn(self, rows: Tensor, numbers: Tensor) -> Tensor:
        axes = list(range(1, 1 + len(self.images.extent)))
        views = []
        for row, number in zip(rows.tolist(), numbers.tolist(), strict=True):
            view = self.images.tensor[row].roll(self.shifts[number], axes)
            views.append(view.flip(-1) if self.mirrored[number] else view)
        return torch.stack(views)

    def brought_back(self, one: Attribution, number: int) -> Attribution:
        def back(tensor: Tensor | None) -> Tensor | None:
            if tensor is None:
                return None
            unmirrored = tensor.flip(-1) if self.mirrored[number] else tensor
            last = len(self.images.extent)
            return unmirrored.roll([-s for s in self.shifts[number]], list(range(-last, 0)))

        values = back(one.values)
        assert values is not None
        return replace(one, values=values, channels=back(one.channels), layer_values={})


class _Sum:
    """Running sums of one image's maps."""

    def __init__(self) -> None:
        self.count = 0
        self.first: Attribution | None = None

    def add(self, one: Attribution) -> None:
        parts = {"values": one.values, "channels": one.channels, **one.layer_values}
        found = {name: part.double() for name, part in parts.items() if part is not None}
        if self.first is None:
            self.first, self.sums = one, {name: torch.zeros_like(part) for name, part in found.items()}
            self.squares = {name: torch.zeros_like(part) for name, part in found.items()}
            self.positive, self.negative = (torch.zeros_like(found["values"]) for _ in range(2))
            self.offsets = found  # deviations from the first copy stay small where maps hardly vary
        for name, part in found.items():
            self.sums[name] += part
            self.squares[name] += (part - self.offsets[name]).square()
        self.positive += found["values"] > 0
        self.negative += found["values"] < 0
        self.count += 1

    def mean(self, how: Smooth, images: Images, row: int) -> Attribution:
        assert self.first is not None, "every image has copies"
        kind = "noisy copies" if how.augment == "noise" else "mirrored and shifted views"
        means = {name: (part / self.count).float() for name, part in self.sums.items()}
        variances = {name: self._variance(name) for name in self.sums}
        if how.of != "mean":
            return self._squared(how, images, row, means, variances, kind)
        spread = variances["values"].sqrt().float()
        agreeing = torch.where(means["values"] > 0, self.positive, self.negative) / self.count
        agreeing = torch.where(means["values"] == 0, 1 - (self.positive + self.negative) / self.count, agreeing)
        return replace(
            self.first,
            values=means["values"],
            channels=means.get("channels"),
            layer_values={name: means[name] for name in self.first.layer_values},
            uncertainty={"spread": spread, "sign agreement": agreeing.float()},
            photo=images.photo(row),  # type: ignore[arg-type]
            notes=_notes(means["values"], f"{self.count} {kind}"),
        )

    def _variance(self, name: str) -> Tensor:
        deviation = self.sums[name] / self.count - self.offsets[name]
        return (self.squares[name] / self.count - deviation.square()).clamp_min(0)

    def _squared(
        self,
        how: Smooth,
        images: Images,
        row: int,
        means: Mapping[str, Tensor],
        variances: Mapping[str, Tensor],
        kind: str,
    ) -> Attribution:
        """The mean of squares, or the variance, of every number."""
        assert self.first is not None, "every image has copies"
        squares = how.of == "mean-square"
        taken = {n: (v + means[n].double().square() if squares else v).float() for n, v in variances.items()}
        said = f"{'the mean of squares' if squares else 'the variance'} over {self.count} {kind}"
        return replace(
            self.first,
            values=taken["values"],
            channels=taken.get("channels"),
            layer_values={name: taken[name] for name in self.first.layer_values},
            uncertainty={},
            signed=False,
            photo=images.photo(row),  # type: ignore[arg-type]
            notes=_notes(taken["values"], said),
        )


def _notes(values: Tensor, kind: str) -> Mapping[str, Any]:
    blank = {} if bool(values.any()) else {"blank": f"the map is zero for all of the {kind}"}
    return {"averaged over": kind, **blank}
