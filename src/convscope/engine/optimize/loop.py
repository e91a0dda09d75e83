"""The loop: draw, shake, run the network up to the layer, step uphill; keep the best.

Three leaves keep the parts apart. The picture is drawn with a graph to its numbers; what the network sees is a leaf of
its own in the fastest memory layout; its gradient is handed back through transform and parametrisation. So the network
pays for a forward and a gradient to its input, and for nothing else.

A unit that is off gives no gradient: its rectifiers hold everything back. While a picture has none at all, what flows
back through rectifiers is redirected (`engine.rules.methods.redirected`), until the unit is on.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Generator, Tensor

from convscope.engine.context.chunking import chunk_size, in_chunks
from convscope.engine.context.metering import count_passes as counted
from convscope.engine.context.metering import report_progress, show_pictures
from convscope.engine.network.batchnorm_folding import fused_runs
from convscope.engine.network.model import Model
from convscope.engine.optimize.objectives import Objective, alongside
from convscope.engine.optimize.parametrizations import Parametrisation
from convscope.engine.optimize.prefix import Cut
from convscope.engine.optimize.regularizers import Between, Penalty
from convscope.engine.optimize.transforms import Transform, still
from convscope.engine.rules.function_mode import Rules
from convscope.engine.rules.ledger import Ledger
from convscope.engine.rules.modified_gradients import redirected
from convscope.errors import Cancelled, NoGradient, NotFinite, ParameterError

_SMOOTHING = 0.8
"""How much of the running mean of a score is kept at a step: the best picture is chosen by it."""

_SELDOM, _MEASURED = 8, 24
"""Pictures are measured as they are every eighth step at most, and some two dozen times in all: a few percent of the
work."""


@dataclass(frozen=True)
class Ascent:
    """Where a climb led.

    Attributes:
        pictures: (N, C, …), each at its best, prepared for the network.
        scores: (N, steps), the objective of the shaken picture at each step.
        best: (N,), the objective of each kept picture as it is.
        reached: (N, steps), the objective of the best picture so far, as it is; the last is ``best``. Taken every few
            steps, NaN between them.
        importance: (N, …), how much of the climb went into each pixel: its |gradient|, added up over the steps.
        frames: (F, N, C, …), pictures on the way, where they were asked for.
        stopped: where somebody stopped the climb, after how many steps; otherwise empty.
        notes: per picture what must be known of it.
    """

    pictures: Tensor
    scores: Tensor
    best: Tensor
    importance: Tensor
    frames: Tensor
    reached: Tensor
    stopped: str = ""
    notes: tuple[dict[str, Any], ...] = ()


def climb(
    model: Model,
    objective: Objective,
    parametrisation: Parametrisation,
    count: int = 1,
    *,
    steps: int = 256,
    rate: float | None = None,
    transform: Transform = still,
    penalties: Sequence[Penalty] = (),
    between: Sequence[Between] = (),
    seed: int = 0,
    variants: int = 1,
    frames: int = 0,
    report: Callable[[int, int], None] = report_progress,
) -> Ascent:
    """Draw ``count_passes`` pictures that make ``objective`` large, in one batch.

    Picture i begins from the noise of seed ``seed + i % variants`` and is shaken as all others are: it comes out the
    same alone or among others. The model is taken as it is: call this within ``model.untouched()``.

    Args:
        rate: how far Adam goes; by default what suits the parametrisation.
        penalties: numbers per picture that are taken off the objective.
        between: what is done to plain pixels after each step.
        variants: how many pictures in a row begin from noise of their own.
        frames: how many pictures on the way to keep, evenly over the steps.
        report: told how many steps are done, of how many; it may raise `Cancelled`, and the best so far is kept.

    Raises:
        NoGradient: the objective does not depend on the input.
        NotFinite: it is NaN or infinite from the start.
    """
    if between and not parametrisation.plain:
        raise ParameterError(f"blurring and clipping work on pixels, not on {parametrisation.name}: choose 'pixels'")
    numbers = _begun(parametrisation, count, seed, variants)
    with torch.no_grad():
        like = parametrisation.picture(numbers)[:1]
    state = _State(count, steps, frames)
    cut = Cut(model, objective.layers, like)
    chance = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(numbers, lr=rate or parametrisation.rate, fused=numbers[0].device.type in ("cpu", "cuda"))
    with fused_runs(model, like, steps * count) as folded:
        hill = _Hill(model, objective, cut, transform, penalties, folded)
        for step in range(steps):
            drawn = parametrisation.picture(numbers)
            scores, slopes, slope = hill.slopes(drawn, numbers, chance)
            state.note(step, drawn.detach(), scores, slope)
            state.measure(step, hill)
            if state.all_lost():
                break
            for tensor, found in zip(numbers, slopes, strict=True):
                tensor.grad = state.without_lost(found).neg().contiguous()  # laid out as they are: Adam goes by memory
            adam.step()
            with torch.no_grad():
                for change in between:
                    numbers[0].copy_(change(numbers[0], step))
            try:
                report(step + 1, steps)
                show_pictures(step + 1, steps, scores, lambda: state.pictures)
            except Cancelled:
                state.stopped = f"stopped after {step + 1} of {steps} steps" if step + 1 < steps else ""
                break
        return state.ended(hill)


def climb_all(
    model: Model,
    objectives: Sequence[Objective],
    parametrisation: Parametrisation,
    *,
    variants: int = 1,
    unlike: Objective | None = None,
    **how: Any,
) -> Ascent:
    """A picture for each of several objectives, ``variants`` of each in a row, as many in one batch as memory allows.

    Args:
        unlike: what the variants of one objective have besides, such as their diversity.
        how: as `climb` takes it.
    """
    parts: list[Ascent] = []
    told = how.pop("report", report_progress)
    like = parametrisation.start(1, torch.Generator().manual_seed(0))
    with torch.no_grad():
        sample = parametrisation.picture(like)[0]

    def step(rows: Tensor) -> None:
        chosen = [objectives[row] if unlike is None else objectives[row] + unlike for row in rows.tolist()]
        together = chosen[0] if len(chosen) == 1 else alongside(chosen, variants)
        ended = parts[-1].stopped if parts else ""

        def report(done: int, of: int) -> None:
            told(int(rows[0]) * of + done * len(rows), len(objectives) * of)

        own = how | ({"steps": 1, "report": lambda *_: None} if ended else {"report": report})
        found = climb(model, together, parametrisation, len(chosen) * variants, variants=variants, **own)
        notes = tuple({"stopped": "stopped before it was begun"} for _ in found.notes) if ended else found.notes
        parts.append(replace(found, stopped=ended or found.stopped, notes=notes))

    in_chunks(len(objectives), sample, step, size=max(1, chunk_size(sample) // variants), quiet=True)
    return parts[0] if len(parts) == 1 else joined(parts)


class _Hill:
    """What is climbed: the objective of shaken pictures, less what they pay for."""

    def __init__(
        self,
        model: Model,
        objective: Objective,
        cut: Cut,
        transform: Transform,
        penalties: Sequence[Penalty],
        folded: AbstractContextManager[Any],
    ) -> None:
        self.model, self.objective, self.cut, self.folded = model, objective, cut, folded
        self.transform, self.penalties = transform, penalties

    def slopes(
        self, drawn: Tensor, numbers: Sequence[Tensor], chance: Generator
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """The scores (N,), their slopes along the numbers, and along the drawn pictures (N, C, …)."""
        seen = self.transform(drawn, chance)
        scores, slope = self._along_input(seen)
        outputs, weights = [seen], [slope.to(seen)]
        if self.penalties:
            paid = sum(
                (penalty(drawn) for penalty in self.penalties), torch.zeros((), dtype=torch.float32, device="cpu")
            )
            outputs, weights = [seen, paid], [slope.to(seen), -torch.ones_like(paid)]
        along_picture, *along_numbers = torch.autograd.grad(outputs, [drawn, *numbers], weights)
        return scores, along_numbers, along_picture

    def scores(self, pictures: Tensor) -> Tensor:
        """The objective of pictures as they are."""
        with torch.no_grad():
            return self.objective.score(self.cut.read(self.model.laid_out(pictures.to(self.model.dtype)))).detach()

    def _along_input(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """The scores of what the network sees, and their slope; redirected for pictures that have none."""
        scores, slope = self._run(seen, self.objective)
        off = (_strength(slope) == 0).nonzero()[:, 0].tolist()
        if off:
            picked = self.objective.picked
            rows, objective = (off, picked(off)) if picked else (list(range(len(seen))), self.objective)
            rules = Rules(redirected(), Ledger(len(rows)), on_missing="gradient")
            _, other = self._run(seen[rows], objective, rules)
            for row in off:
                slope[row] = other[rows.index(row)]
        return scores, slope

    def _run(self, seen: Tensor, objective: Objective, rules: Rules | None = None) -> tuple[Tensor, Tensor]:
        leaf = self.model.laid_out(seen.to(self.model.dtype)).requires_grad_(True)
        seen_at: dict[str, Tensor] = {}

        def run() -> Tensor:
            seen_at.update(self.cut.read(leaf.clone()))  # a network may not write to a leaf
            return next(reversed(seen_at.values()))

        if rules is None:
            with self.folded:
                run()
        else:  # which hold for the network's own rectifiers, not for those of the objective
            rules.seen_by(run, self.model.module)
            seen_at = {address: rules.latest(found) for address, found in seen_at.items()}
        scores = objective.score(seen_at)
        counted(backwards=len(leaf))
        self.model.require_gradient()
        if scores.requires_grad:
            with self.model.on_the_way_back():
                (slope,) = torch.autograd.grad(scores.sum(), leaf, allow_unused=True)
            if slope is not None:
                return scores.detach(), slope
        raise NoGradient(
            f"{objective.words} does not depend on the input of {self.model.name}: no picture can change it"
        )


@dataclass
class _State:
    """What a climb keeps: the best pictures so far, the curves, which pictures are lost or never moved."""

    count: int
    steps: int
    keep: int
    curves: list[Tensor] = field(default_factory=list)
    reached: list[Tensor] = field(default_factory=list)
    frames: list[Tensor] = field(default_factory=list)
    stopped: str = ""

    def __post_init__(self) -> None:
        self.dead = torch.ones(self.count, dtype=torch.bool, device="cpu")
        self.lost = torch.zeros(self.count, dtype=torch.long, device="cpu")
        self.level, self.highest = (
            torch.zeros(self.count, dtype=torch.float32, device="cpu"),
            torch.full((self.count,), -torch.inf, dtype=torch.float32, device="cpu"),
        )
        self.due = {round((i + 1) * (self.steps - 1) / self.keep) for i in range(self.keep)} if self.keep else set()

    def note(self, step: int, drawn: Tensor, scores: Tensor, slope: Tensor) -> None:
        """Take in one step: pictures (N, C, …), their scores, and the slope at each pixel."""
        scores = scores.detach().float().cpu()
        trace = slope.abs().mean(1)
        strength = trace.flatten(1).sum(1).cpu()
        fine = torch.isfinite(scores) & torch.isfinite(strength)
        if step == 0:
            self._begin(drawn, fine)
        self.curves.append(scores)
        self.lost = torch.where((self.lost == 0) & ~fine, step, self.lost)
        fine &= self.lost == 0
        self.dead &= strength == 0
        if step == 0 and bool(self.dead.all()):
            raise NoGradient(
                "the objective does not depend on the input: its gradient is zero at every pixel, even with "
                "rectifiers that let everything through"
            )
        weight = 1 - _SMOOTHING
        self.level = torch.where(fine, _SMOOTHING * self.level + weight * scores, self.level)
        level = self.level / (1 - _SMOOTHING ** (step + 1))
        better = fine & (level > self.highest)
        self.highest = torch.where(better, level, self.highest)
        if bool(better.all()):
            self.pictures = drawn
        else:
            mask = better.to(drawn.device).view(-1, *[1] * (drawn.ndim - 1))
            self.pictures = torch.where(mask, drawn, self.pictures)
        self.importance += trace if bool(fine.all()) else torch.nan_to_num(trace, 0.0, 0.0)
        if step in self.due:
            self.frames.append(drawn.cpu())

    def measure(self, step: int, hill: _Hill) -> None:
        """Take down how far the best pictures so far have come as they are, every few steps."""
        if step % max(_SELDOM, -(-self.steps // _MEASURED)) == 0:
            self.reached.append(hill.scores(self.pictures).float().cpu())
        else:
            self.reached.append(torch.full((self.count,), torch.nan, dtype=torch.float32, device="cpu"))

    def all_lost(self) -> bool:
        """Whether there is no picture left to climb on with."""
        return bool((self.lost > 0).all())

    def without_lost(self, slope: Tensor) -> Tensor:
        """The slope with nothing for the pictures that are lost."""
        if not bool(self.lost.any()):
            return slope
        mask = (self.lost > 0).to(slope.device).view(-1, *[1] * (slope.ndim - 1))
        return torch.where(mask, 0, slope)

    def ended(self, hill: _Hill) -> Ascent:
        """Where the climb led."""
        notes: list[dict[str, Any]] = [{} for _ in range(self.count)]
        for row, note in enumerate(notes):
            if self.lost[row]:
                note["diverged"] = (
                    f"the objective became NaN or infinite at step {int(self.lost[row])}; "
                    "the best picture before it is shown"
                )
            elif self.dead[row]:
                note["never moved"] = (
                    "the objective gave no gradient at any step: this unit does not answer to the input"
                )
            if self.stopped and not self.lost[row]:
                note["stopped"] = f"{self.stopped}; the best picture so far is shown"
        curves = torch.stack(self.curves, 1)
        empty = torch.empty(0, *self.pictures.shape, dtype=torch.float32, device="cpu")
        frames = torch.stack(self.frames) if self.frames else empty
        best = hill.scores(self.pictures).float().cpu()
        reached = torch.stack([*self.reached[:-1], best], 1)
        pictures, importance = self.pictures.float().cpu(), self.importance.float().cpu()
        return Ascent(pictures, curves, best, importance, frames.float(), reached, self.stopped, tuple(notes))

    def _begin(self, drawn: Tensor, fine: Tensor) -> None:
        if not bool(fine.all()):
            raise NotFinite("the objective is NaN or infinite from the start: nothing can be climbed")
        self.pictures, self.importance = (
            drawn,
            torch.zeros(len(drawn), *drawn.shape[2:], dtype=torch.float32, device="cpu").to(drawn),
        )


def _strength(slope: Tensor) -> Tensor:
    """How much slope there is in all (N,)."""
    return slope.abs().sum(tuple(range(1, slope.ndim)))


def _begun(parametrisation: Parametrisation, count: int, seed: int, variants: int) -> list[Tensor]:
    """The numbers of all pictures at the start: of given pictures, or each variant's from its own seed."""
    if parametrisation.given:
        given = parametrisation.start(count, torch.Generator().manual_seed(seed))
        return [tensor.detach().contiguous().requires_grad_(True) for tensor in given]
    own = [parametrisation.start(1, torch.Generator().manual_seed(seed + v)) for v in range(variants)]
    whole = [torch.cat([own[row % variants][place] for row in range(count)]) for place in range(len(own[0]))]
    return [tensor.detach().contiguous().requires_grad_(True) for tensor in whole]


def joined(parts: Sequence[Ascent]) -> Ascent:
    """Several climbs as one; a curve that ended early goes on as NaN."""
    steps = max(one.scores.shape[1] for one in parts)

    def long(curves: Tensor) -> Tensor:
        missing = torch.full((len(curves), steps - curves.shape[1]), torch.nan, dtype=torch.float32, device="cpu")
        return torch.cat([curves, missing], 1)

    common = min(len(one.frames) for one in parts)
    return replace(
        parts[0],
        pictures=torch.cat([one.pictures for one in parts]),
        scores=torch.cat([long(one.scores) for one in parts]),
        reached=torch.cat([long(one.reached) for one in parts]),
        best=torch.cat([one.best for one in parts]),
        importance=torch.cat([one.importance for one in parts]),
        frames=torch.cat([one.frames[:common] for one in parts], 1),
        stopped=parts[-1].stopped,
        notes=tuple(note for one in parts for note in one.notes),
    )
