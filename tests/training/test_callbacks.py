"""Callbacks record real trainings of their libraries, two or three steps each, in a process of their own."""

import importlib.util
from pathlib import Path

import pytest

import convscope as cs
from convscope.training.run import Run
from tests.warm_processes import run_code

PACKAGE = "convscope.training.callbacks"


def record_by(code: str, folder: Path, *packages: str) -> Run:
    """The run that a training records to ``log``; skips where a package is missing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    ended = run_code(code, folder)
    assert ended.status == 0, ended.output
    (run,) = cs.open_log(folder / "log")
    return run


LIGHTNING = """
from convscope.training.callbacks.lightning import LightningRecorder
import lightning.pytorch as lightning, torch
from torch.utils.data import DataLoader, TensorDataset

class Network(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.hidden, self.relu, self.last = torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2)

    def loss(self, batch):
        return torch.nn.functional.cross_entropy(self.last(self.relu(self.hidden(batch[0]))), batch[1])

    def training_step(self, batch, index):
        return {"loss": self.loss(batch), "doubled": 2 * self.loss(batch).detach()}

    def validation_step(self, batch, index):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.25)

def train(*callbacks):
    torch.manual_seed(0)
    network, data = Network(), TensorDataset(torch.randn(12, 4), torch.arange(12) % 2)
    trainer = lightning.Trainer(
        max_epochs=2, callbacks=list(callbacks), accumulate_grad_batches=2, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(network, DataLoader(data, 3), DataLoader(data, 6))
    return torch.cat([p.flatten() for p in network.parameters()])

assert torch.equal(train(LightningRecorder("log", every=1)), train())
"""


@pytest.mark.process
def test_lightning(tmp_path: Path) -> None:
    """Four batches an epoch, of which two are a step; what Lightning validates before the training is left out."""
    run = record_by(LIGHTNING, tmp_path, "lightning")
    loss = run.series("train/loss")
    assert loss.steps.tolist() == [0, 1, 2, 3]
    assert run.series("train/doubled").values == pytest.approx(2 * loss.values)
    assert run.series("validation/loss").steps.tolist() == [1, 3]
    assert set(run.series("learning_rate").values) == {0.25}
    assert len(run.series("update_ratio/hidden")) == len(run.series("dead/relu")) == 4


TRAINER = """
from convscope.training.callbacks.transformers import TrainerRecorder
import torch
from transformers import Trainer, TrainingArguments

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.relu, self.last = torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2)

    def forward(self, x, labels):
        scores = self.last(self.relu(self.hidden(x)))
        return {"loss": torch.nn.functional.cross_entropy(scores, labels), "logits": scores}

def train(*callbacks):
    torch.manual_seed(0)
    network, data = Network(), [{"x": torch.randn(4), "labels": index % 2} for index in range(12)]
    arguments = TrainingArguments(
        output_dir="results", max_steps=4, per_device_train_batch_size=3, logging_steps=2, eval_strategy="steps",
        eval_steps=2, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True, learning_rate=0.25,
        lr_scheduler_type="constant", optim="sgd",
    )
    Trainer(network, arguments, train_dataset=data, eval_dataset=data, callbacks=list(callbacks)).train()
    return torch.cat([p.flatten() for p in network.parameters()])

assert torch.equal(train(TrainerRecorder("log", every=1)), train())
"""


@pytest.mark.process
def test_transformers(tmp_path: Path) -> None:
    """The loss comes with every second step, and belongs to that step."""
    run = record_by(TRAINER, tmp_path, "transformers", "accelerate")
    assert run.series("learning_rate").steps.tolist() == [0, 1, 2, 3]
    assert run.series("train/loss").steps.tolist() == [1, 3]
    assert run.series("validation/loss").steps.tolist() == [1, 3]
    assert not any("runtime" in tag or "per_second" in tag for tag in run.tags)
    assert len(run.series("update_ratio/hidden")) == len(run.series("dead/relu")) == 4


KERAS = """
import os
os.environ["KERAS_BACKEND"] = "torch"
from convscope.training.callbacks.keras import KerasRecorder
import keras, numpy as np, torch

def train(*callbacks):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "relu", name="hidden"), keras.layers.Dense(1)])
    network.compile(keras.optimizers.SGD(0.25), "mse")
    x = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
    network.fit(x, x[:, :1], 6, 2, verbose=0, callbacks=list(callbacks), validation_data=(x, x[:, :1]), shuffle=False)
    return np.concatenate([w.ravel() for w in network.get_weights()])

assert np.array_equal(train(KerasRecorder("log", every=1)), train())

def fail(epoch, logs):
    raise KeyboardInterrupt

from torch.optim import optimizer
hooks = optimizer._global_optimizer_post_hooks
try:
    with KerasRecorder("other") as recorder:
        train(recorder, keras.callbacks.LambdaCallback(on_epoch_end=fail))
except KeyboardInterrupt:
    assert not hooks and os.listdir("other")
"""


@pytest.mark.process
def test_keras(tmp_path: Path) -> None:
    run = record_by(KERAS, tmp_path, "keras")
    assert run.series("train/loss").steps.tolist() == [0, 1, 2, 3]
    assert run.series("validation/loss").steps.tolist() == [1, 3]
    assert set(run.series("learning_rate").values) == {0.25}
    (layer,) = (tag for tag in run.tags if tag.startswith("update_ratio/") and tag.endswith("/hidden"))
    assert (run.series(layer).values > 0).all()


@pytest.mark.parametrize("library", ["lightning", "transformers", "keras"])
@pytest.mark.process
def test_a_missing_library_is_one_sentence(library: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules[{library!r}] = None\nimport {PACKAGE}.{library}"
    ended = run_code(code, tmp_path)
    last = ended.output.strip().splitlines()[-1]
    assert "MissingExtra: this needs the package" in last
    assert last.endswith(f"pip install {library}")


@pytest.mark.process
def test_keras_with_another_backend_is_one_sentence(tmp_path: Path) -> None:
    if importlib.util.find_spec("keras") is None:
        pytest.skip("the package keras is not installed")
    code = "import os; os.environ['KERAS_BACKEND'] = 'torch'\nimport keras; keras.config.backend = lambda: 'jax'\n"
    code += f"from {PACKAGE}.keras import KerasRecorder; KerasRecorder('log')"
    assert "the backend of Keras is jax" in run_code(code, tmp_path).output
