"""The training loop: one-cycle learning rate, early stop, checkpoints from which it resumes, and the recorder on."""

import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.catalogue import load
from convscope.engine.inputs.specs import ImageInput
from convscope.engine.network.model import Model
from convscope.errors import CannotWrite, InputError, ParameterError, UnknownName, did_you_mean
from convscope.training.loop.architectures import ARCHITECTURES, shift_and_mirror
from convscope.training.loop.image_sets import ImageSet, Labelled, open_image_set
from convscope.training.loop.network_file import WEIGHTS, write_network_file
from convscope.training.loop.preparation import prepared
from convscope.training.recorder.recorder import record
from convscope.values import atomic_write

CHECKPOINT = "checkpoint.pt"
BATCH, LEARNING_RATE, WEIGHT_DECAY = 64, 4e-3, 1e-3
PROBES = 4


@dataclass(frozen=True)
class Epoch:
    """What an epoch gave: the loss and the accuracy on images that the network was not trained on."""

    number: int
    loss: float
    accuracy: float
    seconds: float


@dataclass
class Training:
    """A training that has ended.

    Attributes:
        model: the network as it was after the epoch with the best accuracy on validation images.
        folder: the folder with the log, the weights and the checkpoint.
        epochs: the epochs of this call.
        best: the best accuracy on validation images.
        stopped_early: whether it ended before the last epoch.
    """

    model: Model
    folder: Path
    epochs: list[Epoch]
    best: float
    stopped_early: bool
    images: ImageSet


def train(
    data: str,
    folder: str | Path,
    *,
    arch: str = "lenet",
    epochs: int = 8,
    images: int | None = None,
    data_folder: str | Path | None = None,
    augment: bool = True,
    patience: int = 5,
    resume: bool = False,
    seed: int = 0,
    report: Callable[[Epoch], None] | None = None,
) -> Training:
    """Train a small network, with its recorder on.

    Args:
        data: ``digits``, ``shapes``, ``mnist``, ``fashion``, ``cifar``, a folder with a folder per class, or NPZ file.
            CIFAR is read from NPZ files, not from its own Python or binary files.
        folder: where the log, the weights and the checkpoint are written.
        arch: ``lenet``, ``vgg``, ``resnet``, or ``net.py:make``, a function that makes the network.
        epochs: how often every image is used, at most.
        images: use so many training images only, chosen by chance; all of them where there are no more.
        data_folder: where the files of ``mnist``, ``fashion`` or ``cifar`` lie.
        augment: move images by up to two pixels, and mirror them where that does not change the class.
        patience: end after so many epochs without a better accuracy on validation images.
        resume: go on from the checkpoint in the folder.
        seed: of weights, batches and augmentation.
        report: called after each epoch.

    Raises:
        InputError: there are no such images, no checkpoint to resume from, or one that would be overwritten.
        UnknownName: no such architecture.
        CannotWrite: the folder cannot be written to.
        MissingExtra: the packages of the extra ``training`` are not installed.

    Example:
        >>> import tempfile, convscope as cs
        >>> training = cs.train("digits", tempfile.mkdtemp(), epochs=1, images=64)
        >>> len(training.epochs), training.model.labels[:3]
        (1, ('0', '1', '2'))
    """
    for name, number in (("epochs", epochs), ("patience", patience), ("images", 1 if images is None else images)):
        if not isinstance(number, int) or number < 1:
            raise ParameterError(f"{name} must be a whole number from 1 on, got {number!r}")
    image_set = open_image_set(data, data_folder)
    training = image_set.training if images is None else _some(image_set.training, images, seed)
    path = Path(folder).expanduser()
    if not resume and (path / CHECKPOINT).exists():
        raise InputError(
            f"{str(folder)!r} holds a training already, which would be overwritten: go on with it with resume=True, or "
            "name another folder"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(arch, image_set)
        _check_size(model, arch, image_set)
        loop = _Loop(model, training, image_set, path, epochs, augment=augment, seed=seed)
        if resume:
            loop.resume()
        return loop.run(patience, report)


class _Loop:
    """The state of a training between two epochs."""

    def __init__(
        self, model: Model, training: Labelled, images: ImageSet, folder: Path, epochs: int, *, augment: bool, seed: int
    ) -> None:
        self.model, self.network, self.training, self.images = model, model.module, training, images
        self.folder, self.last_epoch, self.augment = folder, epochs, augment
        self.generator = torch.Generator(device="cpu").manual_seed(seed)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.batches = math.ceil(len(training) / BATCH)
        self.epoch = self.step = 0
        self.best, self.best_epoch = -1.0, 0
        self.best_weights: dict[str, Tensor] = {}

    def run(self, patience: int, report: Callable[[Epoch], None] | None) -> Training:
        """Train until the last epoch, or until patience ends."""
        history: list[Epoch] = []
        probes = self._prepared(self.images.validation.images[:PROBES])
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotWrite(f"cannot make the folder {str(self.folder)!r}: {error.strerror or error}") from error
        every = max(1, min(100, self.batches // 2))
        with record(
            self.model, self.folder, every=every, probes=probes, probe_every=self.batches, first_step=self.step,
            measures=("gradient_cosine", "gradient_noise"),
        ) as recorder:  # fmt: skip
            while self.epoch < self.last_epoch and self.epoch - self.best_epoch < patience:
                start = time.perf_counter()
                self._train_epoch(recorder)
                loss, accuracy = measure(self.network, self.images.validation, self._prepared, recorder.predictions)
                recorder.validation(loss=loss, accuracy=accuracy)
                self.epoch += 1
                if accuracy > self.best:
                    self.best, self.best_epoch = accuracy, self.epoch
                    self.best_weights = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
                self._save()
                history.append(Epoch(self.epoch, loss, accuracy, time.perf_counter() - start))
                if report:
                    report(history[-1])
        self.network.load_state_dict(self.best_weights)
        self.network.eval()
        write_network_file(self.model, self.folder)
        return Training(self.model, self.folder, history, self.best, self.epoch < self.last_epoch, self.images)

    def _train_epoch(self, recorder: Any) -> None:
        self.network.train()
        order = torch.randperm(len(self.training), generator=self.generator, device="cpu")
        for rows in order.split(BATCH):  # type: ignore[no-untyped-call]
            if len(rows) == 1 and len(order) > 1:
                continue  # batch norm needs two
            for group in self.optimizer.param_groups:
                group["lr"] = LEARNING_RATE * one_cycle(self.step / max(1, self.last_epoch * self.batches))
            labels = self.training.labels[rows]
            self.optimizer.zero_grad()
            scores = self.network(self._augmented(self._prepared(self.training.images[rows])))
            loss = F.cross_entropy(scores, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            recorder.step(loss=loss, accuracy=(scores.detach().argmax(1) == labels).float().mean())
            self.step += 1

    def _prepared(self, images: Tensor) -> Tensor:
        return prepared(self.model, images)

    def _augmented(self, batch: Tensor) -> Tensor:
        if not self.augment:
            return batch
        offsets = torch.randint(-2, 3, (len(batch), 2), generator=self.generator, device="cpu")
        coins = torch.rand(len(batch), generator=self.generator, dtype=torch.float32, device="cpu")
        return shift_and_mirror(batch, offsets, (coins < 0.5) & self.images.mirrored)

    def _save(self) -> None:
        """Write the best weights, and everything that resuming needs."""
        from safetensors.torch import save

        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(), "random": torch.get_rng_state(),
            "best_weights": self.best_weights,
            "epoch": self.epoch, "step": self.step, "best": self.best, "best_epoch": self.best_epoch,
        }  # fmt: skip
        # As bytes: their own writers turn a full disk into errors of other kinds than that of the operating system.
        checkpoint = io.BytesIO()
        torch.save(state, checkpoint)
        with atomic_write(self.folder / CHECKPOINT) as draft:
            draft.write_bytes(checkpoint.getbuffer())
        with atomic_write(self.folder / WEIGHTS) as draft:
            draft.write_bytes(save({k: v.contiguous() for k, v in self.best_weights.items()}))

    def resume(self) -> None:
        """Go on where the last complete epoch ended."""
        path = self.folder / CHECKPOINT
        if not path.is_file():
            raise InputError(f"there is no checkpoint in {str(self.folder)!r}: train without resuming first")
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.generator.set_state(state["generator"])
            torch.set_rng_state(state["random"])  # of dropout
            self.epoch, self.step, self.best = state["epoch"], state["step"], state["best"]
            self.best_epoch, self.best_weights = state["best_epoch"], state["best_weights"]
        except Exception as error:  # torch raises many kinds for a damaged or a foreign file
            first_line = str(error).partition("\n")[0]
            raise InputError(
                f"{str(path)!r} does not fit this network ({type(error).__name__}: {first_line}): resume with the "
                "images and the architecture that the training began with"
            ) from error


def _some(labelled: Labelled, count: int, seed: int) -> Labelled:
    """So many images by chance: those of a folder are sorted by class."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return labelled.part(torch.randperm(len(labelled), generator=generator, device="cpu")[:count])


def _model(arch: str, images: ImageSet) -> Model:
    """The network with the preprocessing that the training uses."""
    channels, height, width = images.training.images.shape[1:]
    mean, std = images.statistics()
    if ":" in arch and not arch.rpartition(":")[0].endswith(".py"):
        raise ParameterError(
            f"a training begins with a network of its own, and {arch!r} is not made by a function: name "
            f"{', '.join(ARCHITECTURES)}, or net.py:make"
        )
    if ":" in arch:
        network: nn.Module = load(arch).module.train()
    elif arch in ARCHITECTURES:
        network = ARCHITECTURES[arch](channels, len(images.classes))
    else:
        known = ", ".join(ARCHITECTURES)
        raise UnknownName(
            f"no architecture {arch!r}{did_you_mean(arch, ARCHITECTURES)} (there are {known}, net.py:make)"
        )
    spec = ImageInput(size=(height, width), mean=mean, std=std)
    return Model(network, input=spec, labels=images.classes, name=arch)


def _check_size(model: Model, arch: str, images: ImageSet) -> None:
    """Refuse images that are too small for the network, before anything is written."""
    network = model.module.eval()
    try:
        with torch.no_grad():
            network(prepared(model, images.validation.images[:1]))
    except RuntimeError as error:
        size = "×".join(map(str, images.training.images.shape[1:]))
        raise InputError(f"the network {arch!r} does not take images of {size}: {error}") from error
    network.train()


def one_cycle(progress: float) -> float:
    """The learning rate relative to its peak: rising over the first fifth of the training, then a half cosine to 0."""
    if progress < 0.2:
        return 0.1 + 0.9 * progress / 0.2
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.2) / 0.8))


@torch.inference_mode()
def measure(
    network: nn.Module,
    images: Labelled,
    prepare: Callable[[Tensor], Tensor],
    keep: Callable[[Tensor, Tensor, Tensor], None],
) -> tuple[float, float]:
    """The loss and the accuracy on images, in evaluation mode; the mode is restored.

    Args:
        keep: called with the scores, the labels and the prepared images of each batch.
    """
    was_training = network.training
    network.eval()
    loss = correct = 0.0
    for chunk, labels in zip(images.images.split(250), images.labels.split(250), strict=True):  # type: ignore[no-untyped-call]
        batch = prepare(chunk)
        scores = network(batch)
        keep(scores, labels, batch)
        loss += float(F.cross_entropy(scores, labels, reduction="sum"))
        correct += float((scores.argmax(1) == labels).sum())
    network.train(was_training)
    return loss / len(images), correct / len(images)
