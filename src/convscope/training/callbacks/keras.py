"""Records a training of Keras 3 with its backend torch.

from convscope.training.callbacks.keras import KerasRecorder

with KerasRecorder("runs/first") as recorder:
    model.fit(images, labels, callbacks=[recorder])

Without ``with``, an error that ends the training leaves the hooks on the network: callbacks are not told.
"""

from pathlib import Path
from typing import Any

from torch import nn

from convscope.errors import InputError, MissingExtra
from convscope.training.callbacks.held_recorder import HeldRecorder

try:
    import keras
except ModuleNotFoundError as error:
    raise MissingExtra(error.name or "keras") from error


class KerasRecorder(HeldRecorder, keras.callbacks.Callback):  # type: ignore[misc]  # untyped
    """Records what `convscope.record` records of weights: distributions, gradients, and how far a step moves them.

    Activations are not recorded, nor are probe images: layers of Keras call no hooks. Keras tells its loss as the mean
    since the epoch began.
    """

    def __init__(self, folder: str | Path, *, every: int = 100) -> None:
        super().__init__()
        if keras.config.backend() != "torch":
            raise InputError(
                f"the backend of Keras is {keras.config.backend()}, and only trainings with PyTorch can be recorded: "
                "set KERAS_BACKEND=torch before keras is imported"
            )
        self._folder, self._every = folder, every

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Begin; a second call of fit continues the steps."""
        first = int(self.model.optimizer.iterations)
        self.begin(parameters_of(self.model), self._folder, every=self._every, first_step=first)

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Keep the weights, where the step is measured: optimizers of Keras call no hooks."""
        if self._recorder is not None:
            self._recorder.before_update(float(self.model.optimizer.learning_rate))

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """End a step."""
        if self._recorder is not None:
            self._recorder.step(**(logs or {}))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Record the metrics of the validation, where there was one."""
        metrics = {n.removeprefix("val_"): value for n, value in (logs or {}).items() if n.startswith("val_")}
        if self._recorder is not None and metrics:
            self._recorder.validation(**metrics)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Write what is left."""
        self.end()


def parameters_of(model: Any) -> nn.Module:
    """The layers of a network of Keras as torch modules that hold the parameters and compute nothing."""
    network = nn.Module()
    for variable in model.trainable_variables:
        layer = variable.path.rpartition("/")[0].replace(".", "_")
        if layer not in dict(network.named_children()):
            network.add_module(layer, nn.Module())
        holder = network.get_submodule(layer)
        holder.register_parameter(str(len(list(holder.parameters()))), variable.value)
    return network
