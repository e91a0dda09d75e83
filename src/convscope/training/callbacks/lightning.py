"""Records a training of Lightning.

from convscope.training.callbacks.lightning import LightningRecorder

trainer = lightning.Trainer(callbacks=[LightningRecorder("runs/first")])
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from convscope.errors import MissingExtra
from convscope.loaders.torchvision_operators import prepare_torchvision
from convscope.training.callbacks.held_recorder import HeldRecorder
from convscope.training.roles import split_role

prepare_torchvision()  # Lightning imports it by way of torchmetrics
try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError as error:
    raise MissingExtra((error.name or "lightning").partition(".")[0]) from error


class LightningRecorder(HeldRecorder, Callback):  # type: ignore[misc]  # need not be installed
    """Records what `convscope.record` records.

    Every step: the loss and other numbers that ``training_step`` returns. Whenever Lightning validates: the metrics
    that were logged under names such as ``val_loss``.
    """

    def __init__(
        self, folder: str | Path, *, every: int = 100, probes: Any = None, probe_every: int | None = None
    ) -> None:
        self._folder, self._settings = folder, {"every": every, "probes": probes, "probe_every": probe_every}
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin; a resumed training continues its steps."""
        if trainer.is_global_zero:
            self._step = trainer.global_step
            self.begin(pl_module, self._folder, first_step=self._step, **self._settings)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End a step, unless the gradients of more batches are added to it."""
        if self._recorder is not None and trainer.global_step != self._step:
            self._step = trainer.global_step
            numbers = _numbers(outputs if isinstance(outputs, Mapping) else {"loss": outputs})
            if "loss" in numbers:  # Lightning has divided it by the number of batches of a step
                numbers["loss"] = numbers["loss"] * trainer.accumulate_grad_batches
            self._recorder.step(**numbers)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the metrics of the validation."""
        if self._recorder is not None:
            roles = {split_role(name): value for name, value in trainer.callback_metrics.items()}
            metrics = _numbers({name: value for (name, role), value in roles.items() if role == "validation"})
            if metrics:
                self._recorder.validation(**metrics)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is left."""
        self.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write what is left, and take the hooks off the network."""
        self.end(exception)


def _numbers(values: Mapping[str, Any]) -> dict[str, float | Tensor]:
    """The single numbers among these values."""
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1)
    }
