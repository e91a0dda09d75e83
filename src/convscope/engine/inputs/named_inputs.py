"""Several inputs of one network by name, as an image with the row of a table, and their vectors end to end."""

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from convscope.engine.inputs.specs import ImageInput, Images, InputSpec, TensorInput
from convscope.errors import InputError, did_you_mean


@dataclass(frozen=True)
class NamedInputs(TensorInput):
    """The inputs of a network that takes several, by name.

    Args:
        specs: the specification of each input.
        positional: whether they were given as a list, so that the network takes them in this order.
    """

    specs: Mapping[str, InputSpec] | None = None
    positional: bool = False

    kind: ClassVar[str] = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(self.specs or {})

    def as_inputs(self, given: Any) -> Any:
        """Raise `InputError`: samples of several inputs are no batch of one input."""
        raise InputError(f"this network takes several inputs ({', '.join(self.names)}): {self._remedy()}")

    def prepare(self, picture: Any) -> Tensor:
        """Raise `InputError`: one picture is not all inputs."""
        self.as_inputs(picture)
        raise AssertionError("as_inputs raises")

    def samples(self, given: Any) -> "tuple[list[Mapping[str, Any]], bool]":
        """What a caller passes as samples, each {name: input}, and whether it is a single sample.

        Args:
            given: a dict by name or a tuple in order for one sample, or a list of them.

        Raises:
            InputError: the number or the names of the inputs do not fit.
        """
        if isinstance(given, list) and given and all(isinstance(sample, (Mapping, tuple)) for sample in given):
            return [self._by_name(sample) for sample in given], False
        return [self._by_name(given)], True

    def _by_name(self, given: Any) -> Mapping[str, Any]:
        if isinstance(given, list) and not given:
            raise InputError("there is no sample: the list is empty")
        given = written_inputs(given) or given
        if isinstance(given, (tuple, list)):
            if len(given) != len(self.names):
                raise InputError(
                    f"{len(given)} inputs for a network that takes {len(self.names)} ({', '.join(self.names)})"
                )
            return dict(zip(self.names, given, strict=True))
        if not isinstance(given, Mapping):
            raise InputError(
                f"this network takes several inputs ({', '.join(self.names)}), got {type(given).__name__}: "
                + self._remedy()
            )
        for name in given:
            if name not in self.names:
                raise InputError(
                    f"no input {name!r}{did_you_mean(str(name), self.names)} "
                    f"(the network takes {', '.join(self.names)})"
                )
        for name in self.names:
            if name not in given:
                raise InputError(f"the input {name!r} is missing (the network takes {', '.join(self.names)})")
        return {name: given[name] for name in self.names}

    def _remedy(self) -> str:
        return f"pass a dict, {{{', '.join(f'{name!r}: …' for name in self.names)}}}"


def written_inputs(text: Any) -> dict[str, str]:
    """Inputs written as text, ``photo=a.jpg table=row.csv``, by name; empty for anything else.

    Where the words are not all inputs, it is one input with spaces, ``photo=my photo.jpg`` or ``words=it's good``.
    """
    if not isinstance(text, str) or "=" not in text:
        return {}
    try:
        words = shlex.split(text)
    except ValueError:  # quotes that belong to the input
        words = []
    for parts in (words, [text]):
        pairs = [part.partition("=") for part in parts]
        if pairs and all(name.strip() and address.strip() for name, _, address in pairs):
            return {name: address for name, _, address in pairs}
    return {}


def write_inputs(addresses: Mapping[str, str]) -> str:
    """Inputs by name as text that `written_inputs` reads."""
    return " ".join(shlex.quote(f"{name}={address}") for name, address in addresses.items())


@dataclass(frozen=True)
class NamedImages:
    """The prepared inputs of several samples, by name; all have one length."""

    parts: Mapping[str, Images]
    single: bool

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def sample(self, row: int) -> dict[str, Images]:
        """The inputs of one sample, each as a batch of one."""
        return {
            name: Images(
                images.tensor[row : row + 1],
                images.names[row : row + 1],
                True,
                images.spec,
                remark=images.remark,
                grids=images.grids[row : row + 1],
            )
            for name, images in self.parts.items()
        }


def prepare_named(given: Any, inputs: NamedInputs, prepare: Callable[[Any, InputSpec], Images]) -> NamedImages:
    """Prepare samples of several inputs.

    Args:
        given: one sample, a list of samples, or one sample of batches: a tensor (N, …) for each input.
        prepare: prepares inputs of one kind.

    Raises:
        InputError: the number or the names of the inputs do not fit, or there are more of one than of another.
    """
    samples, single = inputs.samples(given)
    parts: dict[str, Images] = {}
    for name, spec in (inputs.specs or {}).items():
        try:
            column = samples[0][name] if single else [_member(sample[name], spec) for sample in samples]
            parts[name] = prepare(column, spec)
        except InputError as error:
            raise InputError(f"the input {name!r}: {error}") from error
    counts = {name: len(images) for name, images in parts.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise InputError(f"the batch is ragged: {listed}; give as many of each input")
    return NamedImages(parts, single and set(counts.values()) == {1})


def _member(value: Any, spec: InputSpec) -> Any:
    """One input in a list of samples; a list of numbers is an array there already."""
    prepared = spec.as_inputs(value)
    if isinstance(prepared, (list, tuple)):
        raise InputError("in a list of samples each input is a single one, got a list of them")
    return prepared


@dataclass(frozen=True)
class PackedInput(TensorInput):
    """Several inputs as one vector (numbers,), so that all of them can change together.

    Args:
        specs: the specification of each input, by name.
        shapes: the shape of each.
    """

    specs: Mapping[str, InputSpec] | None = None
    shapes: Mapping[str, tuple[int, ...]] | None = None

    kind: ClassVar[str] = "vector"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", (sum(self.sizes),))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each input has."""
        return tuple(math.prod(shape) for shape in (self.shapes or {}).values())

    def pack(self, tensors: Sequence[Tensor]) -> Tensor:
        """Batches (N, …) of each input as one batch of vectors (N, numbers)."""
        return torch.cat([tensor.flatten(1) for tensor in tensors], 1)

    def unpack(self, vectors: Tensor) -> dict[str, Tensor]:
        """A batch of vectors (N, numbers) as one batch (N, …) of each input."""
        pieces = torch.split(vectors, list(self.sizes), 1)
        shapes = self.shapes or {}
        return {
            name: piece.reshape(len(vectors), *shape)
            for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
        }

    def level(self, brightness: float) -> Tensor:
        """The prepared value of a brightness for each input, as one vector."""
        shapes, specs = self.shapes or {}, self.specs or {}
        levels = {
            name: specs[name].level(brightness).reshape(-1, *[1] * (len(shape) - 1))
            if len(shape) > 1
            else specs[name].level(brightness)
            for name, shape in shapes.items()
        }
        return torch.cat([levels[name].expand(shape).reshape(-1) for name, shape in shapes.items()])

    def picture(self, tensor: Tensor) -> None:
        """None: a vector of several inputs is no picture."""

    def open(self, address: str | Path) -> Any:
        """Raise `InputError`: several inputs are no file."""
        raise InputError("several inputs are named one by one, not by a file")


def packed_images(images: Images) -> list[Images]:
    """The batches of each input of which a batch of vectors consists; of any other batch itself alone."""
    packed = images.spec
    if not isinstance(packed, PackedInput) or packed.specs is None:
        return [images]
    return [
        Images(tensor, images.names, images.single, packed.specs[name])
        for name, tensor in packed.unpack(images.tensor).items()
    ]


def of_each_input(images: Images, compute: Callable[[Images], Tensor]) -> Tensor:
    """What ``compute`` gives for a batch; of packed inputs for the batch of each, spread over its numbers."""
    packed = images.spec
    if not isinstance(packed, PackedInput):
        return compute(images)
    return packed.pack([compute(each).expand_as(each.tensor) for each in packed_images(images)])


def named_inputs(given: Any) -> NamedInputs:
    """The specification of several inputs from what a caller passes as ``inputs``.

    Raises:
        InputError: it is no dict or list of specifications.
    """
    specs = given if isinstance(given, Mapping) else None
    if specs is None and isinstance(given, (list, tuple)):
        specs = {f"input {index}": spec for index, spec in enumerate(given)}
    fits = specs and all(isinstance(spec, (ImageInput, TensorInput)) for spec in specs.values())
    if specs is None or not fits or not all(isinstance(name, str) for name in specs):
        raise InputError(
            "inputs is a dict {name: input} or a list of inputs, such as cs.ImageInput and cs.TableInput, "
            f"got {given!r}"
        )
    for name in specs:
        if "=" in name or not name.strip():
            raise InputError(f"inputs has the name {name!r}: a name holds text without '=', as in 'photo=a.jpg'")
    return NamedInputs(specs=dict(specs), positional=not isinstance(given, Mapping))
