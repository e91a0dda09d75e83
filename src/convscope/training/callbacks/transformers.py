"""Records a training of Hugging Face's Trainer.

from convscope.training.callbacks.transformers import TrainerRecorder

with TrainerRecorder("runs/first") as recorder:
    transformers.Trainer(model, arguments, callbacks=[recorder], …).train()

Without ``with``, an error that ends the training leaves the hooks on the network: callbacks are not told.
"""

from pathlib import Path
from typing import Any

from convscope.errors import MissingExtra
from convscope.loaders.torchvision_operators import prepare_torchvision
from convscope.training.callbacks.held_recorder import HeldRecorder

prepare_torchvision()  # transformers imports it
try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ModuleNotFoundError as error:
    raise MissingExtra(error.name or "transformers") from error

NOT_METRICS = ("runtime", "per_second", "_time")
"""Endings of the names of numbers that say how long the evaluation took."""


class TrainerRecorder(HeldRecorder, TrainerCallback):  # type: ignore[misc]  # untyped
    """Records what `convscope.record` records.

    Every step: measurements of layers when they are due, and the learning rate. The loss comes when the Trainer logs
    it, every ``logging_steps``, as the mean since it last did. Whenever the Trainer evaluates: its metrics.
    """

    def __init__(
        self, folder: str | Path, *, every: int = 100, probes: Any = None, probe_every: int | None = None
    ) -> None:
        self._folder, self._settings = folder, {"every": every, "probes": probes, "probe_every": probe_every}
        self._step_ended = False
        self._metrics: dict[str, float] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **others: Any
    ) -> None:
        """Begin; a resumed training continues its steps."""
        if state.is_world_process_zero:
            self.begin(model, self._folder, first_step=state.global_step, **self._settings)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Write the step before, of which all is known now."""
        self._write_step()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """The weights have changed; the loss of the step is logged after this."""
        self._step_ended = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **others: Any,
    ) -> None:
        """Keep the loss until the step is written."""
        if self._step_ended and logs is not None and "loss" in logs:
            self._metrics["loss"] = logs["loss"]

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **others: Any,
    ) -> None:
        """Record the metrics of an evaluation during the training."""
        self._write_step()
        if self._recorder is not None:
            numbers = {
                name.removeprefix("eval_"): value
                for name, value in (metrics or {}).items()
                if name.startswith("eval_") and not name.endswith(NOT_METRICS) and isinstance(value, (int, float))
            }
            self._recorder.validation(**numbers)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Write what is left."""
        self._write_step()
        self.end()

    def _write_step(self) -> None:
        metrics, self._metrics = self._metrics, {}
        if self._step_ended and self._recorder is not None:
            self._recorder.step(**metrics)
        self._step_ended = False
