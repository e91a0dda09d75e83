"""The base class of all values: raw numbers with a record of how they were computed; saved, loaded and drawn.

Drawing is done by ``convscope.render``, which this package reaches through `get_renderer`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from convscope import _extensions
from convscope.errors import CannotWrite, InputError
from convscope.values.backends import get_renderer
from convscope.values.deprecated import deprecated_names
from convscope.values.facts import Fact, facts_in, with_facts
from convscope.values.files import atomic_write, check_writable
from convscope.values.input_kinds import adapt_wording
from convscope.values.notebook import notebook_display

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Cost:
    """The cost of a run per image: passes through the network, wall-clock seconds, increase of peak memory."""

    forwards: float = 0.0
    backwards: float = 0.0
    seconds: float = 0.0
    peak_bytes: int | None = None

    def describe(self) -> Fact:
        """The cost in words: ``3 forward, 1 backward, 0.20 s, 22 MB``."""
        memory = [f"{self.peak_bytes / 2**20:.0f} MB"] if self.peak_bytes and self.peak_bytes >= 2**20 else []
        duration = f"{self.seconds:.2f} s" if self.seconds >= 0.1 else f"{self.seconds * 1e3:.0f} ms"
        return Fact(
            "{forwards} forward, {backwards} backward, {time_and_memory}",
            forwards=_format_passes(self.forwards),
            backwards=_format_passes(self.backwards),
            time_and_memory=[duration, *memory],
        )

    def __str__(self) -> str:
        return str(self.describe())


def _format_passes(passes: float) -> str:
    """A number of passes, without decimals from 100 on."""
    return f"{passes:,.0f}" if passes >= 100 else f"{passes:.3g}"


@deprecated_names(worded="adapt_wording")
@dataclass(frozen=True, kw_only=True)
class Record:
    """How a value was computed: what is needed to interpret and to reproduce it."""

    lens: str
    title: str
    asks: str
    reads: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    input: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    cost: Cost = Cost()
    caveats: tuple[str, ...] = ()
    kind: str = ""
    """The kind of input: ``image``, ``signal``, ``volume`` or ``vector``; empty if unknown."""
    spacing: tuple[float, ...] = ()
    """The distance between neighbouring samples along each axis of the input, in ``unit``; empty if unknown."""
    unit: str = ""
    affine: tuple[tuple[float, ...], ...] = ()
    """For volumes, the 4 × 4 matrix from the index of a voxel to its position in millimeters, as in NIfTI."""
    channel_names: tuple[str, ...] = ()

    def adapt_wording(self, text: str) -> str:
        """``text``, written about images, adapted to the kind of input of this value."""
        return adapt_wording(text, self.kind)


_NO_RECORD = Record(lens="", title="", asks="", reads="")


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """The result of a lens.

    ``save`` writes a picture (.png, .jpg, .svg, .pdf), the numbers (.npz) or the manifest (.json).
    """

    record: Record = _NO_RECORD
    notes: Mapping[str, Any] = field(default_factory=dict)

    kinds: ClassVar[dict[str, type[Value]]] = {}
    arrays: ClassVar[tuple[str, ...]] = ()
    """The fields that hold arrays: they are stored in the NPZ file, all others in the manifest."""
    is_map: ClassVar[bool] = False
    """Whether it is a map over the input, which can be compared with others and averaged."""
    attributes: ClassVar[bool] = False
    """Whether it attributes a score to parts of the input or to units of a layer."""
    is_optimized: ClassVar[bool] = False
    """Whether it is found by gradient steps, which need hundreds of passes."""
    is_batched: ClassVar[bool] = False
    """Whether those of several images are computed as one batch."""
    writers: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys((".png", ".jpg", ".jpeg", ".svg", ".pdf"), "_save_picture"),
        ".npz": "_save_npz",
        ".json": "_save_json",
    }
    """File extension → the name of the method that writes a file of that type."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        other = Value.kinds.setdefault(cls.__name__, cls)
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"a kind of value {cls.__name__!r} exists already, in {other.__module__}: rename this one")
        Value.kinds[cls.__name__] = cls

    @staticmethod
    def kind_named(name: str) -> type[Value]:
        """The kind of value of that name, of this package or of one that adds it.

        Raises:
            KeyError: there is none.
            LoadError: an installed package adds it, and cannot be imported.
        """
        if name not in Value.kinds and name in _extensions.entries(_extensions.VALUES):
            _extensions.load(_extensions.VALUES, name)
        return Value.kinds[name]

    def manifest(self) -> dict[str, Any]:
        """All fields except the arrays, as JSON-serializable data; what its facts are made of is under ``facts``."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*self.arrays, "record")}
        manifest = {"kind": type(self).__name__, **to_plain_data(values), "record": to_plain_data(asdict(self.record))}
        facts = facts_in([values, self.record.caveats])
        return {**manifest, "facts": facts} if facts else manifest

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write this value to ``path``; the extension selects a picture, the numbers (.npz) or the manifest (.json).

        The file is written atomically. Pictures are .png and .jpg, or .svg and .pdf with lines and text as vector
        graphics.

        Raises:
            CannotWrite: the folder is missing, not writable or full, or the extension is none of these.
        """
        path = check_writable(path)
        write = self.writer(path)
        with atomic_write(path) as draft:
            write(self, draft, **options)
        return path

    @classmethod
    def writer(cls, path: Path) -> Callable[..., None]:
        """The function ``write(value, path)`` for files with the extension of ``path``.

        Raises:
            CannotWrite: values of this class cannot be written as this file type.
        """
        name = next((cls.writers[end] for end in cls.writers if path.name.lower().endswith(end)), None)
        if name is None:
            extensions = ", ".join(cls.writers)
            raise CannotWrite(
                f"cannot tell the file type from {path.name!r}: the extension must be one of {extensions}"
            )
        write: Callable[..., None] = getattr(cls, name)
        return write

    def _save_json(self, path: Path) -> None:
        path.write_text(json.dumps(self.manifest(), indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")

    def _save_npz(self, path: Path) -> None:
        import numpy as np

        stored: dict[str, np.ndarray[Any, Any]] = {"manifest": np.array(json.dumps(self.manifest()))}
        for name in self.arrays:
            stored |= _pack(name, getattr(self, name))
        with path.open("wb") as file:
            np.savez_compressed(file, **stored)  # type: ignore[arg-type]

    def _save_picture(self, path: Path, **options: Any) -> None:
        path.write_bytes(self.picture(**options).encoded(path, json.dumps(self.manifest(), ensure_ascii=False)))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load a value that `save` wrote to an NPZ file."""
        from zipfile import BadZipFile

        import numpy as np

        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                manifest = json.loads(str(stored["manifest"]))
                manifest = with_facts(manifest, manifest.pop("facts", {}))
                packed = {name: stored[name] for name in stored.files if name != "manifest"}
            kind = Value.kind_named(manifest.pop("kind"))
            record = record_from_plain(manifest.pop("record"))
            value = kind(**kind._restore_fields({**manifest, **_unpack(packed)}), record=record)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, BadZipFile) as error:
            raise InputError(f"{str(path)!r} is not a value saved as .npz ({type(error).__name__}: {error})") from error
        if not isinstance(value, cls):
            raise InputError(f"{str(path)!r} holds {kind.__name__}, not {cls.__name__}")
        return value

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        """Convert what JSON and NPZ files hold back to the types of the fields."""
        return stored

    def lines(self) -> list[str]:
        """The lines that the terminal prints for this value, in addition to its title and notes."""
        return []

    def with_record(self, record: Record) -> Self:
        """A copy of this value with ``record``."""
        return replace(self, record=record)

    def picture(self, **options: Any) -> Any:
        """Draw this value: an image with its scale, its title and one line on how to read it."""
        return get_renderer().picture(self, **options)

    def show(self, **options: Any) -> None:
        """Draw this value and show it in the system's image viewer or in the notebook's output.

        A notebook shows attention weights and maps of several layers in a viewer, unless ``options`` say how to draw.
        """
        display = notebook_display()
        if display is None or options:
            self.picture(**options).show()
        else:
            display(self)

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        picture = self.picture()
        return bytes(picture.png()), {"alt": picture.alt}  # the text that exported notebooks have in place of a picture

    def _repr_html_(self) -> str | None:
        return get_renderer().notebook_html(self)


def record_from_plain(stored: Mapping[str, Any]) -> Record:
    """The record that a manifest holds as plain data."""
    sequences = {name: tuple(stored.get(name, ())) for name in ("caveats", "spacing", "channel_names")}
    affine = tuple(map(tuple, stored.get("affine", ())))
    return Record(**{**stored, **sequences, "affine": affine, "cost": Cost(**stored["cost"])})


def to_plain_data(data: Any) -> Any:
    """``data`` as JSON-serializable objects; arrays and tensors become a string with their type and shape."""
    if isinstance(data, Mapping):
        return {str(key): to_plain_data(value) for key, value in data.items()}
    if isinstance(data, (list, tuple, set, frozenset)):
        return [to_plain_data(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return str(data)  # JSON has no infinity and no NaN
    if isinstance(data, str):
        return str(data)
    if data is None or isinstance(data, (bool, int, float)):
        return data
    if is_dataclass(data) and not isinstance(data, type):
        return to_plain_data(asdict(data))
    if hasattr(data, "shape"):
        return data.item() if not tuple(data.shape) else f"{type(data).__name__}{tuple(data.shape)}"
    return str(data)


def _pack(name: str, data: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The NPZ entries of a field: one array, one per key of a mapping as ``name/key``, or none."""
    import numpy as np

    if data is None:
        return {}
    if isinstance(data, Mapping):
        return {f"{name}/{key}": np.asarray(_detached(value)) for key, value in data.items()}
    return {name: np.asarray(_detached(data))}


def _detached(data: Any) -> Any:
    """A tensor without its autograd graph; anything else as it is."""
    return data.detach() if hasattr(data, "detach") else data


def _unpack(packed: Mapping[str, Any]) -> dict[str, Any]:
    unpacked: dict[str, Any] = {}
    for key, array in packed.items():
        name, slash, inner = key.partition("/")
        if slash:
            unpacked.setdefault(name, {})[inner] = array
        else:
            unpacked[name] = array
    return unpacked
