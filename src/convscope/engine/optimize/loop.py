"""The optimization loop: compute the picture, transform it, run the network, take an Adam step; keep the best picture.

The backward pass runs in two parts. The network gets the transformed picture as a leaf of its own, in the fastest
memory format; the gradient at that leaf is then propagated through the transform and the parametrization. So each step
costs one forward and one gradient to the input, and no gradients of weights are computed.

A unit whose activation is zero everywhere has no gradient, because the ReLUs before it block it. As long as a picture
has no gradient at all, its gradient is redirected through ReLUs (`engine.rules.modified_gradients.redirected_relu`).
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
from convscope.engine.network.batchnorm_folding import batchnorm_folding_mode
from convscope.engine.network.model import Model
from convscope.engine.optimize.objectives import Objective, per_picture
from convscope.engine.optimize.parametrizations import Parametrization
from convscope.engine.optimize.regularizers import Penalty, PostStep
from convscope.engine.optimize.transforms import Transform, identity
from convscope.engine.optimize.truncated_network import TruncatedNetwork
from convscope.engine.rules.function_mode import RuleMode
from convscope.engine.rules.modified_gradients import redirected_relu
from convscope.engine.rules.rule_log import RuleLog
from convscope.errors import Cancelled, NoGradient, NotFinite, ParameterError
from convscope.values.facts import Fact, as_fact

_SMOOTHING = 0.8
"""The decay of the running mean of scores, by which the best picture is chosen."""

_MIN_INTERVAL, _MEASUREMENTS = 8, 24
"""The untransformed best picture is scored at most every eighth step, and about two dozen times in all: a few percent
of the work."""


@dataclass(frozen=True)
class AscentResult:
    """The result of gradient ascent.

    Attributes:
        pictures: (N, C, …), the best picture of each run, as prepared inputs.
        scores: (N, steps), the objective of the transformed picture at each step.
        best: (N,), the objective of each returned picture, untransformed.
        reached: (N, steps), the objective of the best picture so far, untransformed; the last entry is ``best``.
            Computed every few steps, NaN in between.
        importance: (N, …), the sum over the steps of each pixel's |gradient|.
        frames: (F, N, C, …), intermediate pictures, if requested.
        stopped: if the run was cancelled, after how many steps; otherwise empty.
        notes: remarks on each picture.
    """

    pictures: Tensor
    scores: Tensor
    best: Tensor
    importance: Tensor
    frames: Tensor
    reached: Tensor
    stopped: str = ""
    notes: tuple[dict[str, Any], ...] = ()


def maximize(
    model: Model,
    objective: Objective,
    parametrization: Parametrization,
    count: int = 1,
    *,
    steps: int = 256,
    rate: float | None = None,
    transform: Transform = identity,
    penalties: Sequence[Penalty] = (),
    post_steps: Sequence[PostStep] = (),
    seed: int = 0,
    variants: int = 1,
    frames: int = 0,
    report: Callable[[int, int], None] = report_progress,
) -> AscentResult:
    """Optimize ``count`` pictures that maximize ``objective``, in one batch.

    Picture i starts from noise of seed ``seed + i % variants``; the random transformations are the same for all
    pictures. So a picture does not depend on the others in the batch. Call this within ``model.preserve_state()``.

    Args:
        rate: the learning rate of Adam; by default that of the parametrization.
        penalties: numbers per picture that are subtracted from the objective.
        post_steps: operators applied to the pixels after each step.
        variants: how many consecutive pictures start from different noise.
        frames: how many intermediate pictures to keep, evenly spaced over the steps.
        report: called with the number of finished steps and of all steps; it may raise `Cancelled`, and the best
            picture so far is returned.

    Raises:
        NoGradient: the objective does not depend on the input.
        NotFinite: the objective is NaN or infinite at the first step.
    """
    if post_steps and not parametrization.per_pixel:
        raise ParameterError(f"blurring and clipping work on pixels, not on {parametrization.name}: choose 'pixels'")
    parameters = _initial_parameters(parametrization, count, seed, variants)
    with torch.no_grad():
        sample = parametrization.picture(parameters)[:1]
    state = _AscentState(count, steps, frames)
    network = TruncatedNetwork(model, objective.layers, sample)
    generator = torch.Generator().manual_seed(seed)
    fused = parameters[0].device.type in ("cpu", "cuda")
    optimizer = torch.optim.Adam(parameters, lr=rate or parametrization.rate, fused=fused)
    with batchnorm_folding_mode(model, sample, steps * count) as folded:
        evaluator = _Evaluator(model, objective, network, transform, penalties, folded)
        for step in range(steps):
            pictures = parametrization.picture(parameters)
            scores, gradients, picture_gradient = evaluator.gradients(pictures, parameters, generator)
            state.update(step, pictures.detach(), scores, picture_gradient)
            state.record_reached(step, evaluator)
            if state.all_diverged():
                break
            for parameter, gradient in zip(parameters, gradients, strict=True):
                # Contiguous like the parameter: fused Adam pairs elements by their position in memory.
                parameter.grad = state.zero_diverged(gradient).neg().contiguous()
            optimizer.step()
            with torch.no_grad():
                for post_step in post_steps:
                    parameters[0].copy_(post_step(parameters[0], step))
            try:
                report(step + 1, steps)
                show_pictures(step + 1, steps, scores, lambda: state.pictures)
            except Cancelled:
                done = Fact("stopped after {done} of {steps} steps", done=step + 1, steps=steps)
                state.stopped = done if step + 1 < steps else ""
                break
        return state.result(evaluator)


def maximize_all(
    model: Model,
    objectives: Sequence[Objective],
    parametrization: Parametrization,
    *,
    variants: int = 1,
    diversity: Objective | None = None,
    **options: Any,
) -> AscentResult:
    """Optimize ``variants`` consecutive pictures for each objective, as many in one batch as memory allows.

    Args:
        diversity: an objective added for the variants of each objective.
        options: passed to `maximize`.
    """
    results: list[AscentResult] = []
    report_overall = options.pop("report", report_progress)
    parameters = parametrization.initial(1, torch.Generator().manual_seed(0))
    with torch.no_grad():
        sample = parametrization.picture(parameters)[0]

    def step(rows: Tensor) -> None:
        chunk = [objectives[row] if diversity is None else objectives[row] + diversity for row in rows.tolist()]
        objective = chunk[0] if len(chunk) == 1 else per_picture(chunk, variants)
        stopped = results[-1].stopped if results else ""

        def report(done: int, of: int) -> None:
            report_overall(int(rows[0]) * of + done * len(rows), len(objectives) * of)

        chunk_options = options | ({"steps": 1, "report": lambda *_: None} if stopped else {"report": report})
        result = maximize(model, objective, parametrization, len(chunk) * variants, variants=variants, **chunk_options)
        not_started = {"stopped": Fact("stopped before it started")}
        notes = tuple(dict(not_started) for _ in result.notes) if stopped else result.notes
        results.append(replace(result, stopped=stopped or result.stopped, notes=notes))

    in_chunks(len(objectives), sample, step, size=max(1, chunk_size(sample) // variants), quiet=True)
    return results[0] if len(results) == 1 else concatenate(results)


class _Evaluator:
    """Scores and gradients of the objective for transformed pictures, less the penalties."""

    def __init__(
        self,
        model: Model,
        objective: Objective,
        network: TruncatedNetwork,
        transform: Transform,
        penalties: Sequence[Penalty],
        folded: AbstractContextManager[Any],
    ) -> None:
        self.model, self.objective, self.network, self.folded = model, objective, network, folded
        self.transform, self.penalties = transform, penalties
        self.dtype = model.dtype  # read once: it takes a walk over all parameters

    def gradients(
        self, pictures: Tensor, parameters: Sequence[Tensor], generator: Generator
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """The scores (N,), and the gradients with respect to the parameters and to the pictures (N, C, …)."""
        transformed = self.transform(pictures, generator)
        scores, gradient = self._input_gradient(transformed)
        outputs, weights = [transformed], [gradient.to(transformed)]
        if self.penalties:
            zero = torch.zeros((), dtype=torch.float32, device="cpu")
            penalty = sum((penalty(pictures) for penalty in self.penalties), zero)
            outputs, weights = [transformed, penalty], [gradient.to(transformed), -torch.ones_like(penalty)]
        of_pictures, *of_parameters = torch.autograd.grad(outputs, [pictures, *parameters], weights)
        return scores, of_parameters, of_pictures

    def scores(self, pictures: Tensor) -> Tensor:
        """The objective of the pictures without transformation."""
        with torch.no_grad():
            batch = self.model.input_copy(pictures.to(self.dtype))
            return self.objective.score(self.network.activations(batch)).detach()

    def _input_gradient(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The scores of the network's inputs and their gradient; redirected for pictures whose gradient is zero."""
        scores, gradient = self._run(inputs, self.objective)
        zero_rows = (_l1_norm(gradient) == 0).nonzero()[:, 0].tolist()
        if zero_rows:
            select = self.objective.select
            rows, objective = (zero_rows, select(zero_rows)) if select else (list(range(len(inputs))), self.objective)
            rules = RuleMode(redirected_relu(), RuleLog(len(rows)), on_missing="gradient")
            _, redirected_gradient = self._run(inputs[rows], objective, rules)
            for row in zero_rows:
                gradient[row] = redirected_gradient[rows.index(row)]
        return scores, gradient

    def _run(self, inputs: Tensor, objective: Objective, rules: RuleMode | None = None) -> tuple[Tensor, Tensor]:
        leaf = self.model.input_copy(inputs.to(self.dtype)).requires_grad_(True)
        activations: dict[str, Tensor] = {}

        def run() -> Tensor:
            activations.update(self.network.activations(leaf.clone()))  # a network must not write to a leaf in place
            return next(reversed(activations.values()))

        if rules is None:
            with self.folded:
                run()
        else:  # the rules apply to operations of the network, not to those of the objective
            rules.run_network(run, self.model.module)
            activations = {address: rules.latest(activation) for address, activation in activations.items()}
        scores = objective.score(activations)
        counted(backwards=len(leaf))
        self.model.require_gradient()
        if scores.requires_grad:
            with self.model.wrap_backward_errors():
                (gradient,) = torch.autograd.grad(scores.sum(), leaf, allow_unused=True)
            if gradient is not None:
                return scores.detach(), gradient
        raise NoGradient(
            f"{objective.words} does not depend on the input of {self.model.name}: no picture can change it"
        )


@dataclass
class _AscentState:
    """The best pictures so far, the score curves, and which pictures diverged or never had a gradient."""

    count: int
    steps: int
    frame_count: int
    curves: list[Tensor] = field(default_factory=list)
    reached: list[Tensor] = field(default_factory=list)
    frames: list[Tensor] = field(default_factory=list)
    stopped: str = ""

    def __post_init__(self) -> None:
        self.no_gradient = torch.ones(self.count, dtype=torch.bool, device="cpu")
        self.diverged_at = torch.zeros(self.count, dtype=torch.long, device="cpu")
        self.mean, self.best_mean = (
            torch.zeros(self.count, dtype=torch.float32, device="cpu"),
            torch.full((self.count,), -torch.inf, dtype=torch.float32, device="cpu"),
        )
        frames = self.frame_count
        self.frame_steps = {round((i + 1) * (self.steps - 1) / frames) for i in range(frames)} if frames else set()

    def update(self, step: int, pictures: Tensor, scores: Tensor, gradient: Tensor) -> None:
        """Take in one step: pictures (N, C, …), their scores, and the gradient at each pixel."""
        scores = scores.detach().float().cpu()
        magnitude = gradient.abs().mean(1)
        norm = magnitude.flatten(1).sum(1).cpu()
        finite = torch.isfinite(scores) & torch.isfinite(norm)
        if step == 0:
            self._initialize(pictures, finite)
        self.curves.append(scores)
        self.diverged_at = torch.where((self.diverged_at == 0) & ~finite, step, self.diverged_at)
        finite &= self.diverged_at == 0
        self.no_gradient &= norm == 0
        if step == 0 and bool(self.no_gradient.all()):
            raise NoGradient(
                "the objective does not depend on the input: its gradient is zero at every pixel, even when ReLUs "
                "do not block it"
            )
        self._keep_better(step, pictures, scores, finite)
        self.importance += magnitude if bool(finite.all()) else torch.nan_to_num(magnitude, 0.0, 0.0)
        if step in self.frame_steps:
            self.frames.append(pictures.cpu())

    def record_reached(self, step: int, evaluator: _Evaluator) -> None:
        """Score the best pictures so far without transformation, every few steps."""
        if step % max(_MIN_INTERVAL, -(-self.steps // _MEASUREMENTS)) == 0:
            self.reached.append(evaluator.scores(self.pictures).float().cpu())
        else:
            self.reached.append(torch.full((self.count,), torch.nan, dtype=torch.float32, device="cpu"))

    def all_diverged(self) -> bool:
        """Whether no picture is left to optimize."""
        return bool((self.diverged_at > 0).all())

    def zero_diverged(self, gradient: Tensor) -> Tensor:
        """The gradient, set to zero for pictures that diverged."""
        if not bool(self.diverged_at.any()):
            return gradient
        mask = (self.diverged_at > 0).to(gradient.device).view(-1, *[1] * (gradient.ndim - 1))
        return torch.where(mask, 0, gradient)

    def result(self, evaluator: _Evaluator) -> AscentResult:
        """The best pictures with their scores and notes."""
        notes = tuple(self._notes(row) for row in range(self.count))
        curves = torch.stack(self.curves, 1)
        empty = torch.empty(0, *self.pictures.shape, dtype=torch.float32, device="cpu")
        frames = torch.stack(self.frames) if self.frames else empty
        best = evaluator.scores(self.pictures).float().cpu()
        reached = torch.stack([*self.reached[:-1], best], 1)
        pictures, importance = self.pictures.float().cpu(), self.importance.float().cpu()
        return AscentResult(pictures, curves, best, importance, frames.float(), reached, self.stopped, notes)

    def _keep_better(self, step: int, pictures: Tensor, scores: Tensor, finite: Tensor) -> None:
        """Replace the best picture of each row whose bias-corrected running mean score is the highest so far."""
        weight = 1 - _SMOOTHING
        self.mean = torch.where(finite, _SMOOTHING * self.mean + weight * scores, self.mean)
        mean = self.mean / (1 - _SMOOTHING ** (step + 1))
        better = finite & (mean > self.best_mean)
        self.best_mean = torch.where(better, mean, self.best_mean)
        if bool(better.all()):
            self.pictures = pictures
        else:
            mask = better.to(pictures.device).view(-1, *[1] * (pictures.ndim - 1))
            self.pictures = torch.where(mask, pictures, self.pictures)

    def _notes(self, row: int) -> dict[str, Any]:
        notes: dict[str, Any] = {}
        if self.diverged_at[row]:
            notes["diverged"] = Fact(
                "the objective became NaN or infinite at step {step}; the best picture before it is shown",
                step=int(self.diverged_at[row]),
            )
        elif self.no_gradient[row]:
            notes["never moved"] = Fact(
                "the objective gave no gradient at any step: this unit does not respond to the input"
            )
        if self.stopped and not self.diverged_at[row]:
            notes["stopped"] = Fact("{how}; the best picture so far is shown", how=as_fact(self.stopped))
        return notes

    def _initialize(self, pictures: Tensor, finite: Tensor) -> None:
        if not bool(finite.all()):
            raise NotFinite("the objective is NaN or infinite at the first step: it cannot be maximized")
        self.pictures, self.importance = (
            pictures,
            torch.zeros(len(pictures), *pictures.shape[2:], dtype=torch.float32, device="cpu").to(pictures),
        )


def _l1_norm(gradient: Tensor) -> Tensor:
    """The sum of absolute values for each picture (N,)."""
    return gradient.abs().sum(tuple(range(1, gradient.ndim)))


def _initial_parameters(parametrization: Parametrization, count: int, seed: int, variants: int) -> list[Tensor]:
    """The parameters of all pictures at the start: of given pictures, or of noise with one seed per variant."""
    if parametrization.from_pictures:
        parameters = parametrization.initial(count, torch.Generator().manual_seed(seed))
        return [tensor.detach().contiguous().requires_grad_(True) for tensor in parameters]
    by_variant = [parametrization.initial(1, torch.Generator().manual_seed(seed + v)) for v in range(variants)]
    parameters = [
        torch.cat([by_variant[row % variants][index] for row in range(count)]) for index in range(len(by_variant[0]))
    ]
    return [tensor.detach().contiguous().requires_grad_(True) for tensor in parameters]


def concatenate(results: Sequence[AscentResult]) -> AscentResult:
    """Several results as one; curves that ended early are padded with NaN."""
    steps = max(result.scores.shape[1] for result in results)

    def pad(curves: Tensor) -> Tensor:
        missing = torch.full((len(curves), steps - curves.shape[1]), torch.nan, dtype=torch.float32, device="cpu")
        return torch.cat([curves, missing], 1)

    frame_count = min(len(result.frames) for result in results)
    return replace(
        results[0],
        pictures=torch.cat([result.pictures for result in results]),
        scores=torch.cat([pad(result.scores) for result in results]),
        reached=torch.cat([pad(result.reached) for result in results]),
        best=torch.cat([result.best for result in results]),
        importance=torch.cat([result.importance for result in results]),
        frames=torch.cat([result.frames[:frame_count] for result in results], 1),
        stopped=results[-1].stopped,
        notes=tuple(note for result in results for note in result.notes),
    )
