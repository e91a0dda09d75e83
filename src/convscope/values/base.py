"""What every value is: raw numbers with the record of their making, which can be saved, read back and drawn.

A value knows nothing of pictures: drawing is ``convscope.render``'s business, which the package root makes known here
by `drawn_by`.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from convscope.errors import CannotWrite, InputError
from convscope.values.files import writable, written_whole
from convscope.values.input_kinds import worded

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Cost:
    """What a run cost for one image: passes through the network, wall-clock seconds, growth of peak memory."""

    forwards: float = 0.0
    backwards: float = 0.0
    seconds: float = 0.0
    peak_bytes: int | None = None

    def __str__(self) -> str:
        memory = f", {self.peak_bytes / 2**20:.0f} MB" if self.peak_bytes and self.peak_bytes >= 2**20 else ""
        took = f"{self.seconds:.2f} s" if self.seconds >= 0.1 else f"{self.seconds * 1e3:.0f} ms"
        return f"{_counted(self.forwards)} forward, {_counted(self.backwards)} backward, {took}{memory}"


def _counted(passes: float) -> str:
    """A number of passes: whole where it is large."""
    return f"{passes:,.0f}" if passes >= 100 else f"{passes:.3g}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """Where a value comes from: enough to read it rightly and to make it again."""

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
    """What one input is: an ``image``, a ``signal``, a ``volume``, a ``vector``; nothing where it is not known."""
    spacing: tuple[float, ...] = ()
    """How far apart neighbours along each axis of the input are, where that is known, in ``unit``."""
    unit: str = ""

    def worded(self, text: str) -> str:
        """A sentence about images as one about the kind of input that was looked at."""
        return worded(text, self.kind)


_NO_RECORD = Record(lens="", title="", asks="", reads="")
_renderer: Callable[[], Any] | None = None


def drawn_by(renderer: Callable[[], Any]) -> None:
    """Tell the values who draws them: a function that gives the module with `picture`."""
    global _renderer
    _renderer = renderer


def renderer() -> Any:
    """The module that draws values."""
    assert _renderer is not None, "the package root names the renderer"
    return _renderer()


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """What a lens hands back. ``save`` writes a picture (.png, .jpg, .svg, .pdf), the numbers (.npz) or the manifest
    (.json)."""

    record: Record = _NO_RECORD
    notes: Mapping[str, Any] = field(default_factory=dict)

    kinds: ClassVar[dict[str, type[Value]]] = {}
    arrays: ClassVar[tuple[str, ...]] = ()
    """The fields that hold numbers by the thousand: they go into the NPZ, the rest into the manifest."""
    writers: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys((".png", ".jpg", ".jpeg", ".svg", ".pdf"), "_save_picture"),
        ".npz": "_save_npz",
        ".json": "_save_json",
    }
    """What a value can be written as: the ending of a file to the name of the method that writes it."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Value.kinds[cls.__name__] = cls

    def manifest(self) -> dict[str, Any]:
        """Everything but the arrays, as plain data that JSON can hold."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*self.arrays, "record")}
        return {"kind": type(self).__name__, **plain(told), "record": plain(asdict(self.record))}

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write this value to ``path``; its ending says what: a picture, the numbers (.npz) or the manifest (.json).

        The file is written whole or not at all. Pictures are .png and .jpg, or .svg and .pdf with lines and letters
        that stay sharp at any size.

        Raises:
            CannotWrite: the folder is missing, the place is not writable or full, or the ending is none of these.
        """
        path = writable(path)
        write = self.writer(path)
        with written_whole(path) as draft:
            write(self, draft, **options)
        return path

    @classmethod
    def writer(cls, path: Path) -> Callable[..., None]:
        """What writes values of this kind to a file of that name: ``write(value, path)``.

        Raises:
            CannotWrite: values of this kind are not written as that.
        """
        name = cls.writers.get(path.suffix.lower())
        if name is None:
            raise CannotWrite(f"cannot tell what to write from {path.name!r}: end it in {', '.join(cls.writers)}")
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
        """Read a value that ``save`` wrote to an NPZ file."""
        import numpy as np

        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                manifest = json.loads(str(stored["manifest"]))
                packed = {name: stored[name] for name in stored.files if name != "manifest"}
            kind = Value.kinds[manifest.pop("kind")]
            record = manifest.pop("record")
            record |= {name: tuple(record.get(name, ())) for name in ("caveats", "spacing")}
            record = Record(**{**record, "cost": Cost(**record["cost"])})
            value = kind(**kind._revive({**manifest, **_unpack(packed)}), record=record)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{str(path)!r} is not a value saved as .npz ({type(error).__name__}: {error})") from error
        if not isinstance(value, cls):
            raise InputError(f"{str(path)!r} holds {kind.__name__}, not {cls.__name__}")
        return value

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        """Turn what JSON and NPZ can hold back into the fields' own types."""
        return stored

    def lines(self) -> list[str]:
        """What the terminal prints of this value, beside its title and notes."""
        return []

    def with_record(self, record: Record) -> Self:
        """The same value, saying where it comes from."""
        return replace(self, record=record)

    def picture(self, **options: Any) -> Any:
        """Draw this value: an image with its scale, its title and one line on how to read it."""
        return renderer().picture(self, **options)

    def show(self, **options: Any) -> None:
        """Draw this value where the person is: in the notebook's output or in the system's viewer."""
        self.picture(**options).show()

    def _repr_png_(self) -> bytes:
        return bytes(self.picture().png())


def plain(thing: Any) -> Any:
    """Only what JSON can hold; arrays and tensors become a word on their shape."""
    if isinstance(thing, Mapping):
        return {str(key): plain(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple, set, frozenset)):
        return [plain(value) for value in thing]
    if isinstance(thing, float) and not math.isfinite(thing):
        return str(thing)  # infinity and NaN are no JSON
    if thing is None or isinstance(thing, (str, bool, int, float)):
        return thing
    if is_dataclass(thing) and not isinstance(thing, type):
        return plain(asdict(thing))
    if hasattr(thing, "shape"):
        return thing.item() if not tuple(thing.shape) else f"{type(thing).__name__}{tuple(thing.shape)}"
    return str(thing)


def _pack(name: str, thing: Any) -> dict[str, np.ndarray[Any, Any]]:
    """One array, or a mapping of arrays under ``name/key``, or nothing."""
    import numpy as np

    if thing is None:
        return {}
    if isinstance(thing, Mapping):
        return {f"{name}/{key}": np.asarray(_without_graph(value)) for key, value in thing.items()}
    return {name: np.asarray(_without_graph(thing))}


def _without_graph(thing: Any) -> Any:
    """A differentiable map's numbers."""
    return thing.detach() if hasattr(thing, "detach") else thing


def _unpack(packed: Mapping[str, Any]) -> dict[str, Any]:
    unpacked: dict[str, Any] = {}
    for key, array in packed.items():
        name, slash, inner = key.partition("/")
        if slash:
            unpacked.setdefault(name, {})[inner] = array
        else:
            unpacked[name] = array
    return unpacked
