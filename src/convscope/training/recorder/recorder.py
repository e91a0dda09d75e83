"""Records a training: three lines in a loop of one's own.

with cs.record(model, "runs/first") as recorder:
    for images, labels in loader:
        …
        recorder.step(loss=loss, accuracy=accuracy)
"""

import json
import time
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from convscope.engine.network.model import Model
from convscope.errors import CannotWrite, ConvScopeError, InputError, ParameterError, UnknownName, did_you_mean
from convscope.training.recorder.answers import Answers
from convscope.training.recorder.curvature import Curvature, Loss
from convscope.training.recorder.gradient_measures import GradientMeasures
from convscope.training.recorder.layer_hooks import LayerHooks, LayerMeasures
from convscope.training.recorder.measures import Histogram, effective_rank
from convscope.training.recorder.mistake_pictures import mistake_arrays
from convscope.training.recorder.optimizer_hooks import OptimizerHooks, ParameterMeasures
from convscope.training.recorder.probe_pictures import ProbePictures
from convscope.training.store import tags
from convscope.training.store.arrays import save_arrays
from convscope.training.store.event_writer import EventWriter
from convscope.values import atomic_write

SETTINGS = "convscope.json"
"""The file beside the events that says what was recorded of which layers, in the order of execution."""

PENDING = 20
"""Numbers of so many steps are kept before they are fetched from the device and written."""

OF_LOSS = ("step_length", "largest_eigenvalue")
MEASURES = ("gradient_cosine", "gradient_noise", *OF_LOSS)
"""What is measured by name; `OF_LOSS` needs a loss on a fixed batch."""

MOST_ANSWERS = 200
"""Predictions are stored so many times; then only those of every second validation are, then of every fourth, …"""


class Recorder:
    """The recorder of one run; made by `record`.

    Attributes:
        folder: where the log is written.
        steps: the number of the step that is recorded next.
    """

    def __init__(
        self, model: Any, folder: Path, *, every: int, probes: Any, probe_every: int | None, first_step: int,
        measures: Collection[str] = (), loss: Loss | None = None, curvature_every: int | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.steps = folder, first_step
        self._first_step, self._every = first_step, every
        module = model.module if isinstance(model, Model) else model
        if not isinstance(module, nn.Module):
            raise InputError(f"cs.record takes a torch module or a cs.Model, got {type(model).__name__}")
        self._layers, self._optimizer = LayerHooks(module), OptimizerHooks(module)
        self._probes = None if probes is None else ProbePictures(model, probes)
        self._probe_every = probe_every or 5 * every
        self._gradients = GradientMeasures("gradient_cosine" in measures, "gradient_noise" in measures)
        self._curvature: Curvature | None = None
        if loss is not None:
            self._curvature = Curvature(module, loss, "step_length" in measures, "largest_eigenvalue" in measures)
        self._curvature_every = curvature_every or 10 * every
        self._model, self._answers = model, Answers()
        self._validations, self._validation_spacing = 0, 1
        self._pending: list[tuple[int, float, dict[str, float | Tensor]]] = []
        self._has_graph = False
        self._writer: EventWriter | None = EventWriter(folder)

    def __enter__(self) -> Self:
        self._layers.attach()
        self._optimizer.attach()
        if self._gradients.cosine or self._gradients.noise:
            self._optimizer.observers.append(self._gradients.before_step)
        if self._curvature is not None:
            self._optimizer.observers.append(self._curvature.before_step)
        self._arm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove_hooks()
        last = self.steps - 1
        try:
            self._written(self._write_pending)
            self._end_validation(with_pictures=False, last=True)
            if self._probes is not None and error is None and last >= self._first_step and last % self._probe_every:
                self._written(lambda writer: self._record_probes(writer, last))
        finally:
            self._written(EventWriter.close)
            self._writer = None

    def step(self, **metrics: float | Tensor) -> None:
        """End a training step: its loss and other metrics of the batch, as numbers or as tensors of one number.

        A tensor is fetched from its device later, so that the step does not wait for it.
        """
        step, self.steps = self.steps, self.steps + 1
        if self._writer is None:
            return
        self._end_validation(with_pictures=False)  # the network has changed since
        due = self._writer.flush_is_due
        numbers = {f"{tags.TRAIN}/{name}": _number(name, value) for name, value in metrics.items()}
        rate = self._optimizer.learning_rate()
        if rate is not None:
            numbers[tags.LEARNING_RATE] = rate
        self._pending.append((step, time.time(), numbers))
        if self._layers.armed:
            self._optimizer.measure_rest()
            self._written(lambda writer: self._write_measures(writer, step))
        elif due or len(self._pending) >= PENDING:
            self._written(self._write_pending)
        if self._curvature is not None and self._curvature.armed:
            self._written(lambda writer: self._record_curvature(writer, step))
        if self._probes is not None and step % self._probe_every == 0:
            self._written(lambda writer: self._record_probes(writer, step))
        if due:
            self._written(EventWriter.flush)
        self._arm()

    def before_update(self, learning_rate: float) -> None:
        """Call this before the weights are changed by something else than an optimizer of PyTorch.

        Without it such a step has no update ratio and no learning rate.
        """
        self._optimizer.before_update(learning_rate)

    def validation(self, **metrics: float | Tensor) -> None:
        """Record metrics on data that the network is not trained on, at the last step."""
        if self._writer is None:
            return
        numbers = {f"{tags.VALIDATION}/{name}": _number(name, value) for name, value in metrics.items()}
        self._pending.append((max(0, self.steps - 1), time.time(), numbers))
        self._written(self._write_pending)
        self._end_validation(with_pictures=True)
        self._written(EventWriter.flush)  # the next step may be far away

    def predictions(self, scores: Tensor, labels: Tensor, images: Tensor | None = None) -> None:
        """Add what the network answered on a batch of validation samples, in a forward pass of your own.

        Call it for each batch, then `validation`, which stores them. Of each sample five numbers are kept: label,
        answer, its probability, that of the label, and the margin. Of more than 10,000 samples evenly spaced ones are.

        Args:
            scores: (N, classes), before the softmax; logarithms of probabilities are such scores too.
            labels: the index of the class of each sample.
            images: what the network received; the twelve worst mistakes are then kept as pictures, with Grad-CAM for
                the answer and for the label, which is computed within `validation`.

        Raises:
            ParameterError: they do not fit each other.
        """
        if self._writer is not None:
            self._answers.add(scores, labels, images)

    def text(self, name: str, text: str) -> None:
        """Record a text in Markdown, such as the settings of the training."""

        def write(writer: EventWriter) -> None:
            writer.text(name, text)
            writer.write(max(0, self.steps - 1), time.time())

        self._written(write)

    def _end_validation(self, *, with_pictures: bool, last: bool = False) -> None:
        """Store the predictions since the last validation."""
        answers, self._answers = self._answers, Answers()
        if not answers.total:
            return
        number, self._validations = self._validations, self._validations + 1
        if number == MOST_ANSWERS * self._validation_spacing:
            self._validation_spacing *= 2
        step = max(0, self.steps - 1)
        if number % self._validation_spacing == 0 or last:
            names = np.array(self._model.labels or ()) if isinstance(self._model, Model) else np.array(())
            stored = {**answers.arrays(), "classes": np.array(answers.classes), "names": names.astype(str)}
            self._written(lambda w: save_arrays(self.folder, tags.PREDICTIONS, step, stored, writer=w.name))
        if with_pictures and answers.mistakes:
            pictures = mistake_arrays(self._model, answers.mistakes)
            self._written(lambda w: save_arrays(self.folder, tags.MISTAKES, step, pictures, writer=w.name))

    def _arm(self) -> None:
        """Decide whether the next step is measured."""
        armed = self._writer is not None and self.steps % self._every == 0
        self._layers.armed = self._optimizer.armed = armed
        self._layers.measured, self._optimizer.measured = {}, {}
        self._gradients.distance = -self.steps % self._every
        if self._curvature is not None:
            self._curvature.armed = self._writer is not None and self.steps % self._curvature_every == 0

    def _written(self, write: Callable[[EventWriter], Any]) -> None:
        """Write to the log; where that fails, as on a full disk, the training goes on without its recorder."""
        if self._writer is None:
            return
        try:
            write(self._writer)
        except OSError as error:
            self._writer.abandon()
            self._writer = None
            self._pending.clear()
            self._remove_hooks()
            warnings.warn(
                f"recording to {str(self.folder)!r} ended at step {self.steps}: {error.strerror or error}; the "
                "training goes on, and what was recorded so far is kept",
                stacklevel=3,
            )

    def _remove_hooks(self) -> None:
        self._layers.remove()
        self._optimizer.remove()

    def _write_pending(self, writer: EventWriter) -> None:
        """Write the numbers of the last steps, fetched from the device at once."""
        pending, self._pending = self._pending, []
        tensors = [value for _, _, numbers in pending for value in numbers.values() if isinstance(value, Tensor)]
        fetched = iter(torch.stack([t.float().to(tensors[0].device) for t in tensors]).tolist() if tensors else ())
        for step, moment, numbers in pending:
            for tag, value in numbers.items():
                writer.scalar(tag, next(fetched) if isinstance(value, Tensor) else value)
            writer.write(step, moment)

    def _write_measures(self, writer: EventWriter, step: int) -> None:
        """Write what was measured in a step, of all layers."""
        self._write_pending(writer)
        if not (self.folder / SETTINGS).exists() and self._layers.measured:
            self._write_settings()
        if not self._has_graph and self._layers.measured:
            self._has_graph = True
            self._layers.graph.forget_operations()
            writer.graph([(n.layer, n.kind, n.inputs, n.shape) for n in self._layers.graph.nodes.values()], time.time())
        for layer, parameters in self._optimizer.measured.items():
            _add_parameters(writer, layer, parameters)
        norms = [m.gradient_norm for m in self._optimizer.measured.values() if m.gradient_norm is not None]
        if norms:
            whole = torch.stack([n.to(norms[0].device) for n in norms]).square().sum().sqrt()
            writer.scalar(tags.layer_tag(tags.GRADIENT_NORM, tags.ALL_LAYERS), whole.item())
        self._add_gradient_measures(writer)
        for layer, measured in self._layers.measured.items():
            _add_activations(writer, layer, measured)
        writer.write(step, time.time())

    def _add_gradient_measures(self, writer: EventWriter) -> None:
        """Add how the gradients of the last steps agree to the event that is written next."""
        if self._gradients.cosine:
            layers = self._optimizer.layers
            whole = {tags.ALL_LAYERS: [p for parameters in layers.values() for p in parameters]}
            for layer, cosine in self._gradients.cosine_of({**layers, **whole}).items():
                writer.scalar(tags.layer_tag(tags.GRADIENT_COSINE, layer), cosine)
        noise = self._gradients.noise_of_window() if self._gradients.noise else None
        if noise is not None:
            writer.scalar(tags.layer_tag(tags.GRADIENT_NOISE, tags.ALL_LAYERS), noise)

    def _record_curvature(self, writer: EventWriter, step: int) -> None:
        """Record the curvature between two steps; a loss of which there is no second derivative is named once."""
        assert self._curvature is not None, "callers have checked"
        self._layers.armed = False  # its passes are none of the training
        try:
            numbers = self._curvature.measure()
        except RuntimeError as error:
            self._curvature = None
            warnings.warn(f"the curvature is not recorded from step {step} on: {error}", stacklevel=4)
            return
        for name, number in numbers.items():
            writer.scalar(f"{tags.CURVATURE}/{name}", number)
        writer.write(step, time.time())

    def _write_settings(self) -> None:
        settings = {"layers": list(self._layers.measured), "every": self._every, "torch": torch.__version__}
        with atomic_write(self.folder / SETTINGS) as draft:
            draft.write_text(json.dumps(settings, indent=1), "utf-8")

    def _record_probes(self, writer: EventWriter, step: int) -> None:
        """Record pictures of the probe images between two steps; a network that they do not fit is named once."""
        assert self._probes is not None, "callers have checked"
        try:
            self._probes.record(writer, self.folder, step)
        except CannotWrite:
            raise
        except ConvScopeError as error:
            self._probes = None
            warnings.warn(f"probe images are not recorded from step {step} on: {error}", stacklevel=4)


def record(
    model: Any,
    folder: str | Path,
    *,
    every: int = 100,
    probes: Any = None,
    probe_every: int | None = None,
    first_step: int = 0,
    measures: Collection[str] = (),
    loss: Loss | None = None,
    curvature_every: int | None = None,
) -> Recorder:
    """Record a training while it runs, for TensorBoard and ``convscope training``.

    Every step: loss, other metrics, learning rate. Every ``every`` steps, of every layer: the distributions of weights,
    gradients and activations, the norm of the gradient, how far the step moved the weights, the share of dead and of
    saturated channels, and the effective rank of its features. Every ``probe_every`` steps: predictions, kernels,
    feature maps and Grad-CAM on probe images.

    Measurements come from hooks, in the forward pass and around the optimizer's step; nothing is computed twice, and
    no random number is drawn. Probe images run between two steps in evaluation mode, and everything that this changes
    is restored. The training gives the same bits with and without a recorder.

    Args:
        model: the network that is trained, a torch module or a `cs.Model`; the latter can prepare probe images.
        folder: where the log is written; a folder of its own for each run.
        every: layers are measured in the first step and every so many steps.
        probes: images on which pictures are recorded: a prepared tensor, or whatever the model prepares.
        probe_every: pictures are recorded every so many steps; by default five times ``every``.
        first_step: the number of the first step, for a training that was resumed.
        measures: what is measured beyond that, by name. ``gradient_cosine``: the cosine of the gradient with that of
            the step before, of each layer; costs one copy of the gradients. ``gradient_noise``: the variance of the
            gradients of the last eight steps relative to the squared norm of their mean; costs one copy of the
            gradients, and a sum in each of these steps. ``step_length``: where the step ended on the parabola of the
            loss along it, 1 at its minimum; costs a copy of the weights, a forward and three backward passes.
            ``largest_eigenvalue`` of the Hessian, by power iteration; costs a forward and up to 42 backward passes.
        loss: for the last two, a function of the network that gives its loss on a fixed batch.
        curvature_every: the last two are measured every so many steps; by default ten times ``every``.

    Returns:
        A recorder, to be used in a ``with`` statement: ``step(loss=…)`` ends a step, ``validation(loss=…)`` adds
        metrics on other data, after ``predictions(scores, labels)`` of each of its batches.

    Raises:
        CannotWrite: the folder cannot be written to.
        MissingExtra: the packages of the extra ``training`` are not installed.
        ParameterError: a number of steps is not positive.

    Example:
        >>> import tempfile, torch, convscope as cs
        >>> net, x, y = torch.nn.Linear(4, 2), torch.ones(8, 4), torch.zeros(8, dtype=torch.long)
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> folder = tempfile.mkdtemp()
        >>> with cs.record(net, folder) as recorder:
        ...     for _ in range(3):
        ...         optimizer.zero_grad()
        ...         loss = torch.nn.functional.cross_entropy(net(x), y)
        ...         loss.backward()
        ...         optimizer.step()
        ...         recorder.step(loss=loss)
        >>> [len(run.series("train/loss")) for run in cs.open_log(folder)]
        [3]
    """
    for name, number, least in (("every", every, 1), ("probe_every", probe_every, 1), ("first_step", first_step, 0)):
        if number is not None and (not isinstance(number, int) or number < least):
            raise ParameterError(f"{name} must be a whole number from {least} on, got {number!r}")
    _check_measures(measures, loss, curvature_every)
    return Recorder(
        model, Path(folder).expanduser(), every=every, probes=probes, probe_every=probe_every, first_step=first_step,
        measures=measures, loss=loss, curvature_every=curvature_every,
    )  # fmt: skip


def _check_measures(measures: Collection[str], loss: Loss | None, curvature_every: int | None) -> None:
    """Refuse what cannot be measured before the training begins."""
    if isinstance(measures, str):
        raise ParameterError(f"measures are a list of names, got {measures!r}: write [{measures!r}]")
    for name in measures:
        if name not in MEASURES:
            raise UnknownName(f"no measure {name!r}{did_you_mean(name, MEASURES)} (there are {', '.join(MEASURES)})")
    if (missing := [name for name in measures if name in OF_LOSS]) and loss is None:
        raise ParameterError(
            f"{missing[0]} needs loss=, a function of the network that gives its loss on a fixed batch"
        )
    if curvature_every is not None and (not isinstance(curvature_every, int) or curvature_every < 1):
        raise ParameterError(f"curvature_every must be a whole number from 1 on, got {curvature_every!r}")


def _number(name: str, value: Any) -> float | Tensor:
    """A metric; of a tensor a copy, which later changes of the loss do not reach."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.detach().reshape(()).clone()
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ParameterError(f"a metric is one number, {name} is {kind}: pass its mean") from error


def _add_parameters(writer: EventWriter, layer: str, measured: ParameterMeasures) -> None:
    """Add the measurements of the parameters of a layer to the event that is written next."""
    weight_norm = measured.weight_norm.item()
    writer.scalar(tags.layer_tag(tags.WEIGHT_NORM, layer), weight_norm)
    _add_histogram(writer, tags.layer_tag(tags.WEIGHTS, layer), measured.weights)
    if measured.gradient_norm is not None:
        writer.scalar(tags.layer_tag(tags.GRADIENT_NORM, layer), measured.gradient_norm.item())
    if measured.gradients is not None:
        _add_histogram(writer, tags.layer_tag(tags.GRADIENTS, layer), measured.gradients)
    if measured.update_norm is not None and weight_norm > 0:
        writer.scalar(tags.layer_tag(tags.UPDATE_RATIO, layer), measured.update_norm.item() / weight_norm)


def _add_activations(writer: EventWriter, layer: str, measured: LayerMeasures) -> None:
    """Add the measurements of the output of a layer to the event that is written next."""
    _add_histogram(writer, tags.layer_tag(tags.ACTIVATIONS, layer), measured.activations)
    for kind, share in ((tags.DEAD, measured.dead), (tags.SATURATED, measured.saturated)):
        if share is not None and not torch.isnan(share):
            writer.scalar(tags.layer_tag(kind, layer), share.item())
    if measured.features is not None and torch.isfinite(measured.features).all():
        writer.scalar(tags.layer_tag(tags.EFFECTIVE_RANK, layer), effective_rank(measured.features).item())


def _add_histogram(writer: EventWriter, tag: str, histogram: Histogram) -> None:
    numbers = histogram.numbers()
    if numbers is not None:
        writer.histogram(tag, *numbers)
