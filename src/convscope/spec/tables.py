"""The tables of all declarations, and what a loader or a source of samples declares."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from convscope._extensions import import_module
from convscope._names import lens_modules
from convscope.errors import UnknownName, did_you_mean
from convscope.spec.lens_spec import LensSpec


@dataclass(frozen=True)
class LoaderSpec:
    """The declaration of one loader: ``scheme:NAME`` and the function that opens it."""

    scheme: str
    title: str
    example: str
    function: Callable[..., Any]
    names: Callable[[], list[str]]
    extra: str = ""


@dataclass(frozen=True)
class FileFormat:
    """The declaration of one format of model files, and the function that opens a file or a folder of it.

    Attributes:
        recognizes: ``recognizes(path, head)`` decides by the content, of which ``head`` is the first `HEAD_BYTES`; a
            folder has an empty head.
        extensions: endings of such files, which decide where no content is recognized.
        function: ``function(path, *, options, weights, trust) -> Model``.
        options: the options of an address that only this format has, such as ``arch``.
        takes_weights: whether the weights of another file may replace those in a file of this format.
    """

    name: str
    title: str
    example: str
    extensions: tuple[str, ...]
    recognizes: Callable[[Path, bytes], bool]
    function: Callable[..., Any]
    options: tuple[str, ...] = ()
    extra: str = ""
    takes_weights: bool = True


HEAD_BYTES = 4096
"""The number of bytes from which a file format is recognized."""


@dataclass(frozen=True)
class InputFormat:
    """The declaration of one format of input files, and the function that reads them.

    Attributes:
        extensions: endings of such files, which decide where no content is recognized.
        recognizes: ``recognizes(path, head)`` decides by the content, of which ``head`` is the first `HEAD_BYTES`; a
            folder has an empty head.
        function: ``function(path, options) -> RawInput``, the numbers with the names of their axes.
        options: the options that an address of such a file may have, such as ``frame`` in ``scan.nii?frame=3``.
        folder_axes: the number of axes of an input that a whole folder holds, such as 3 for a series of slices; 0 if a
            folder is none.
        kinds: the kinds of input that such a file may hold, such as ``signal``; empty if any.
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    recognizes: Callable[[Path, bytes], bool]
    function: Callable[[Path, Mapping[str, str]], Any]
    options: tuple[str, ...] = ()
    folder_axes: int = 0
    extra: str = ""
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class SampleSpec:
    """The declaration of one source of sample inputs: ``sample:NAME/KEY``."""

    name: str
    title: str
    function: Callable[[str], Any]
    keys: tuple[str, ...]
    """A few keys to try; the first one is used in examples."""
    count: int = 0
    """The size of the collection ``sample:NAME``, numbered from 0; 0 where it has only ``keys``."""
    kind: str = "image"
    """The kind of input."""
    networks: tuple[str, ...] = ()
    """The bundled networks that were trained on such inputs."""


Spec = TypeVar("Spec")


class Table(Mapping[str, Spec]):
    """Declarations by name. A name is declared once, and an unknown name gets a suggestion.

    Args:
        noun: what messages call one of them.
        listed_by: where messages say that all are listed, or the list itself, of the declarations.
        declared_in: the modules that declare them; they are imported when a declaration is looked up.
    """

    def __init__(
        self, noun: str, listed_by: str | Callable[[Iterable[Spec]], str], declared_in: Callable[[], Iterable[str]]
    ) -> None:
        self.noun, self.listed_by, self._declared_in = noun, listed_by, declared_in
        self._specs: dict[str, Spec] = {}

    def add(self, name: str, spec: Spec) -> None:
        """Add a declaration."""
        if name in self._specs:
            raise ValueError(f"{self.noun} {name!r} is declared twice")
        self._specs[name] = spec

    def fill(self) -> None:
        """Import the modules that declare, once."""
        for module in self._declared_in():
            import_module(module)

    def find(self, name: str) -> Spec:
        """The declaration of that name, with underscores or dashes."""
        if name in self._specs:
            return self._specs[name]
        self.fill()
        for spelling in (name, name.replace("-", "_"), name.replace("_", "-")):
            if spelling in self._specs:
                return self._specs[spelling]
        near = did_you_mean(name, self._specs)
        listed = self.listed_by if isinstance(self.listed_by, str) else self.listed_by(self._specs.values())
        raise UnknownName(f"no {self.noun} {name!r}{near} ({listed})")

    def __getitem__(self, name: str) -> Spec:
        return self._specs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


LENSES: Table[LensSpec] = Table("lens", "'convscope lenses' lists them", lambda: lens_modules().values())

LOADERS: Table[LoaderSpec] = Table(
    "kind of model", "'convscope models' lists what can be loaded", lambda: ("convscope.samples", "convscope.loaders")
)

FILE_FORMATS: Table[FileFormat] = Table(
    "format of model files", "'convscope models' lists what can be loaded", lambda: ("convscope.loaders",)
)

INPUT_FORMATS: Table[InputFormat] = Table(
    "format of input files", "docs/inputs.md lists them", lambda: ("convscope.engine.inputs.readers",)
)

SAMPLES: Table[SampleSpec] = Table(
    "sample",
    lambda specs: f"there are {', '.join(f'sample:{spec.name}/{spec.keys[0]}' for spec in specs)}",
    lambda: ("convscope.samples",),
)


def loader(
    *,
    scheme: str,
    title: str,
    example: str,
    names: Callable[[], list[str]],
    extra: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function ``(name, *, chosen, weights, trust) -> Model`` that opens ``scheme:name``.

    Args:
        scheme: the part of the address before the colon.
        title: what it opens, in words.
        example: an address that works.
        names: the known names, for lists and suggestions; empty where any name may exist.
        extra: the extra of this package that installs the required libraries.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        LOADERS.add(scheme, LoaderSpec(scheme, title, example, function, names, extra))
        return function

    return declare


def file_format(
    *,
    name: str,
    title: str,
    example: str,
    extensions: tuple[str, ...],
    recognizes: Callable[[Path, bytes], bool],
    options: tuple[str, ...] = (),
    extra: str = "",
    takes_weights: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function ``(path, *, options, weights, trust) -> Model`` that opens model files of one format.

    Args:
        name: a short name of the format.
        title: what it opens, in words.
        example: an address that has this form.
        extensions: endings of such files, with the dot.
        recognizes: ``recognizes(path, head)`` decides by the content; see `FileFormat`.
        options: the options of an address that only this format has.
        extra: the extra of this package that installs the required libraries.
        takes_weights: whether the weights of another file may replace its own; otherwise ``weights=`` is refused.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        spec = FileFormat(name, title, example, extensions, recognizes, function, options, extra, takes_weights)
        FILE_FORMATS.add(name, spec)
        return function

    return declare


def input_format(
    *,
    name: str,
    title: str,
    extensions: tuple[str, ...],
    recognizes: Callable[[Path, bytes], bool],
    options: tuple[str, ...] = (),
    folder_axes: int = 0,
    extra: str = "",
    kinds: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function ``(path, options) -> RawInput`` that reads input files of one format.

    Args:
        name: a short name of the format.
        title: what it reads, in words.
        extensions: endings of such files, with the dot.
        recognizes: ``recognizes(path, head)`` decides by the content; see `InputFormat`.
        options: the options that an address of such a file may have.
        folder_axes: the number of axes of an input that a whole folder holds; see `InputFormat`.
        extra: the extra of this package that installs the required libraries.
        kinds: the kinds of input that such a file may hold; see `InputFormat`.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        spec = InputFormat(name, title, extensions, recognizes, function, options, folder_axes, extra, kinds)
        INPUT_FORMATS.add(name, spec)
        return function

    return declare
