"""Shared by the training scripts: the training loop, the accuracy, and saving weights with metadata.

Images are kept as uint8 (images, channels, height, width) until a batch is prepared, so that they fit in memory.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = Path(__file__).parent.parent / "src" / "convscope" / "samples" / "weights"
THREADS = 2

Transform = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
"""The loss of a batch, from the network's output and the truth."""


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training, which are written into the header of the weights."""

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    precision: torch.dtype = torch.float32


def prepare(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Pixels scaled to 0..1 and normalized by mean and standard deviation, in channels-last format for speed."""
    shift, scale = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    return ((images / 255 - shift) / scale).contiguous(memory_format=torch.channels_last)


def train(
    network: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe, transform: Transform, report: Callable[[], str],
    loss: Loss | None = None,
) -> None:  # fmt: skip
    """Train the network with a one-cycle learning rate schedule and leave it in evaluation mode.

    Args:
        loss: the loss of the output and the ``labels``; by default the cross-entropy of classes.
    """

    def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores.float(), labels, label_smoothing=recipe.label_smoothing)

    if images.ndim == 4:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    batches = len(images) // recipe.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, epochs=recipe.epochs, steps_per_epoch=batches, pct_start=0.2
    )
    start = time.perf_counter()
    for epoch in range(1, recipe.epochs + 1):
        network.train()
        order = torch.randperm(len(images))[: batches * recipe.batch_size]
        total = 0.0
        for rows in order.split(recipe.batch_size):
            total += _step(network, optimizer, transform(images[rows]), labels[rows], recipe, loss or cross_entropy)
            schedule.step()
        network.eval()
        minutes = (time.perf_counter() - start) / 60
        print(f"epoch {epoch:3}/{recipe.epochs}  loss {total / batches:.4f}  {report()}  {minutes:.1f} min", flush=True)


def _step(
    network: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor, labels: Tensor, recipe: Recipe, loss: Loss
) -> float:
    with torch.autocast("cpu", recipe.precision, enabled=recipe.precision != torch.float32):
        output = network(batch)
    value = loss(output, labels)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.item()


@torch.inference_mode()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor, transform: Transform) -> float:
    """The share of images whose highest score is their label, in float32, as users run it."""
    correct = sum(
        int((network(transform(chunk)).argmax(1) == chunk_labels).sum())
        for chunk, chunk_labels in zip(images.split(250), labels.split(250), strict=True)
    )
    return correct / len(images)


def train_and_save(
    name: str, build: Callable[[], nn.Module], draw: Callable[[range], tuple[Tensor, Tensor]], *, script: str,
    recipe: Recipe, first: int, training: int, held_out: int, to_inputs: Transform, augment: Transform | None = None,
) -> None:  # fmt: skip
    """Train a network on inputs drawn from their seeds, measure it on other seeds, and save it.

    Args:
        build: makes the network, whose first weights follow from the seed of the recipe.
        draw: the inputs and labels of a range of seeds; those from ``first`` on are for training, those from 0 on are
            held out.
    """
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(THREADS)
    network = build()
    evaluated = draw(range(held_out))

    def measure() -> float:
        return accuracy(network, *evaluated, to_inputs)

    drawn = draw(range(first, first + training))
    train(network, *drawn, recipe, augment or to_inputs, lambda: f"held out {measure():.4f}")
    save(network, name, recipe, script, accuracy=measure(), held_out=held_out)


def save(
    network: nn.Module, name: str, recipe: Recipe, script: str, *, half: bool = False, **measured: float | int | str
) -> None:
    """Write the weights, on request in half precision, with the recipe and the measured accuracy in their header."""
    metadata = {"script": f"scripts/{Path(script).name}", "torch": torch.__version__, **asdict(recipe), **measured}
    tensors = {
        key: (value.half() if half and value.is_floating_point() else value).contiguous()
        for key, value in network.state_dict().items()
    }
    path = WEIGHTS / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path, metadata={key: str(value) for key, value in metadata.items()})
    print(f"wrote {path} ({path.stat().st_size / 1000:.0f} kB): {metadata}")
