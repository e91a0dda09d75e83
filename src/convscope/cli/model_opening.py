"""Opening models with the options for their weights, labels and input."""

import functools
import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli import options
from convscope.cli.console import print_message
from convscope.cli.image_arguments import ImageArguments, parse_images
from convscope.cli.torch_import import import_torch
from convscope.errors import InputError
from convscope.request import Opener, Request
from convscope.spec import InputKind, LensSpec, inputs_with

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

OpeningValues = Mapping[str, Any]
"""The values of the options with which a model is opened."""

OPENING_OPTIONS: Mapping[str, Any] = {
    "weights": options.Weights,
    "labels": options.Labels,
    "size": options.Size,
    "resize": options.Resize,
    "mean": options.Mean,
    "std": options.Std,
    "task": options.Task,
    "units": options.Units,
    "trust": options.Trust,
    "device": options.Device,
}
"""The options with which a model is opened, by the names of the parameters of `convscope.load`."""


def opening_parameters(taken: Container[str] = ()) -> list[inspect.Parameter]:
    """The options as parameters of a command.

    Args:
        taken: names that have another meaning in the command; the address can still set them, as in ``?size=64``.
    """
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=False if name == "trust" else None
        )
        for name, kind in OPENING_OPTIONS.items()
        if name not in taken
    ]


def with_opening_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator that adds the options for opening a model to a command, which gets their values as ``opening``."""

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        opening = {name: arguments.pop(name) for name in OPENING_OPTIONS if name in arguments}
        command(**arguments, opening=opening)

    own = [p for p in inspect.signature(command).parameters.values() if p.name not in ("opening", "debug")]
    debug = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, annotation=options.Debug, default=False)
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    signature = inspect.Signature([*keyword_only, *opening_parameters(), debug])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return run


def open_model(address: str, arguments: Mapping[str, Any], *, beside: bool = False) -> "Model":
    """Open a model, and print the assumptions made about its input.

    Args:
        address: the address of the model.
        arguments: the arguments of the command, including the values of `OPENING_OPTIONS`.
        beside: whether this is a further model to compare with, which takes only the device and ``trust``.
    """
    import_torch()
    from convscope.catalogue import load

    chosen = {
        name: arguments[name] for name in (("device", "trust") if beside else OPENING_OPTIONS) if arguments.get(name)
    }
    print_message(f"opening {address} …")
    model = load(address, **chosen)
    if model.assumed_from:
        for caveat in model.caveats:
            print_message(
                f"note: {caveat}; --size, --resize, --mean and --std set the preprocessing it was trained with"
            )
    return model


class CommandLineOpener(Opener):
    """Opens what a command names: images that were checked before the model is opened, pipes that are read once.

    Raises:
        InputError: a file is missing, or several images are named where the lens takes one.
    """

    def __init__(self, spec: LensSpec, request: Request) -> None:
        self._spec = spec
        self._images = {
            kind.name: self._parsed(kind, request.inputs[kind.name])
            for kind in spec.input_kinds
            if kind.content in ("image", "data set", "second image") and kind.name in request.inputs
        }

    def _parsed(self, kind: InputKind, address: Any) -> ImageArguments:
        images = parse_images([address] if isinstance(address, str) else address)
        if kind.content == "second image" and not images.single:
            raise InputError(f"a second image must be one image, got {address!r} with {len(images.members)}: name one")
        if kind.content == "image" and not self._spec.each_image and len(images.members) > 1:
            raise InputError(f"{self._spec.command} takes one image, got {len(images.members)}: name one")
        return images

    @property
    def images(self) -> ImageArguments:
        """The images or the data set to which the lens is applied."""
        applied_to = inputs_with("image", "data set")
        return next((images for name, images in self._images.items() if name in applied_to), parse_images(()))

    @property
    def files(self) -> list[str]:
        """The image files, which no result may overwrite."""
        return [file for images in self._images.values() for file in images.files]

    def model(self, address: str, options: Mapping[str, Any]) -> AbstractContextManager["Model"]:
        """The model at an address, with a message while it is opened."""
        return nullcontext(open_model(address, options))

    def image(self, kind: InputKind, address: Any, model: Any) -> Any:
        """The image; for a lens that explains each image, all of them as a stream."""
        images = self._images[kind.name]
        if images.inputs_by_name:
            return images.members[0]
        return images.dataset(model) if kind.content == "image" and self._spec.each_image else images.members[0]

    def data(self, kind: InputKind, address: Any, model: Any) -> Any:
        """The arguments, with pipes replaced by the pictures read from them."""
        return self._images[kind.name].as_data()


def open_without_weights(address: str) -> "Model":
    """Open a model to list its layers, which do not depend on the weights; nothing is downloaded."""
    from convscope.catalogue import load

    is_file = Path(address).expanduser().exists()
    keep_address = is_file or "?" in address or address.startswith("bundled:") or ".py:" in address
    return load(address if keep_address else f"{address}?weights=none")


def is_address(text: str) -> bool:
    """Whether a word is the address of a model or the path of a file, and not a part of a name."""
    return ":" in text or bool(text and (Path(text).suffix or Path(text).is_dir()))


def model_files(address: str | None, arguments: Mapping[str, Any]) -> Iterable[str]:
    """The files that are read when a model is opened."""
    from_address = (part.partition("=")[2] for part in (address or "").partition("?")[2].split("&"))
    source = (address or "").partition("?")[0].rpartition(":")[0]
    from_options = (arguments.get(name) for name in ("weights", "labels"))
    return [str(name) for name in (source, *from_address, *from_options) if name and Path(name).suffix]
