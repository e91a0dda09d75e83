"""The command ``train``: a small network on a data set of one's own, with the recorder on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli import options
from convscope.cli.console import print_message, print_result

if TYPE_CHECKING:
    from convscope.training.loop.fit import Epoch


def train(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="digits, shapes, mnist, fashion, cifar, a folder with a folder per class, or an NPZ file",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="the folder to write to; by default runs/DATA", metavar="FOLDER")
    ] = None,
    arch: Annotated[str, typer.Option("--arch", help="lenet, vgg, resnet, or net.py:make", metavar="NAME")] = "lenet",
    epochs: Annotated[int, typer.Option("--epochs", help="how often every image is used, at most", min=1)] = 8,
    images: Annotated[
        int | None, typer.Option("--images", help="use so many training images only", min=2, show_default=False)
    ] = None,
    data_folder: Annotated[
        Path | None,
        typer.Option("--data", help="where the files of mnist, fashion or cifar (NPZ) lie", metavar="FOLDER"),
    ] = None,
    patience: Annotated[
        int, typer.Option("--patience", help="end after so many epochs without a better accuracy", min=1)
    ] = 5,
    no_augment: Annotated[bool, typer.Option("--no-augment", help="do not move or mirror the images")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint in the folder")] = False,
    seed: Annotated[int, typer.Option("--seed", help="of weights, batches and augmentation")] = 0,
    debug: options.Debug = False,
) -> None:
    """Train a small network on a data set, and record how it learns."""
    from convscope.training.loop.fit import train as train_
    from convscope.training.loop.network_file import NETWORK_FILE

    folder = out or Path("runs") / (Path(data).stem or "data")
    training = train_(
        data,
        folder,
        arch=arch,
        epochs=epochs,
        images=images,
        data_folder=data_folder,
        augment=not no_augment,
        patience=patience,
        resume=resume,
        seed=seed,
        report=_print_epoch,
    )
    for name, reason in training.images.skipped[:5]:
        print_message(f"convscope: {name} was left out: {reason}")
    if len(training.images.skipped) > 5:
        print_message(f"convscope: {len(training.images.skipped)} files were left out in all")
    if unlearnt := training.images.unlearnt:
        names = ", ".join(unlearnt[:5]) + ", …" * (len(unlearnt) > 5)
        print_message(
            f"convscope: {len(unlearnt)} of {len(training.images.classes)} classes have no training image and were not "
            f"learned: {names}"
        )
    ended = ", ended early" if training.stopped_early else ""
    print_result(f"{training.best:.2%} of {len(training.images.validation):,} validation images are right{ended}")
    print_result(f"written to {folder}; look at it with: convscope training {folder}")
    print_result(f"open the network with --model {folder / NETWORK_FILE}:make")


def _print_epoch(epoch: "Epoch") -> None:
    print_message(f"epoch {epoch.number}: loss {epoch.loss:.4f}, {epoch.accuracy:.2%} right, {epoch.seconds:.0f} s")
