"""The frozen results that every lens hands back and every surface shows.

A value keeps raw, signed, unnormalised numbers and the record of how they came to be. It knows nothing of
pictures: drawing is ``convscope.render``'s business, which the package root makes known here by `drawn_by`.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from convscope.errors import CannotWrite, InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


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
        return f"{self.forwards:.3g} forward, {self.backwards:.3g} backward, {took}{memory}"


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


_NO_RECORD = Record(lens="", title="", asks="", reads="")
_renderer: Callable[[], Any] | None = None
_measures: Callable[[], Any] | None = None


def drawn_by(renderer: Callable[[], Any]) -> None:
    """Tell the values who draws them: a function that gives the module with `picture`."""
    global _renderer
    _renderer = renderer


def measured_by(measures: Callable[[], Any]) -> None:
    """Tell the values who measures how alike they are: a function that gives the module with those measures."""
    global _measures
    _measures = measures


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """What a lens hands back. ``save`` writes a picture (.png), the numbers (.npz) or the manifest (.json)."""

    record: Record = _NO_RECORD
    notes: Mapping[str, Any] = field(default_factory=dict)

    kinds: ClassVar[dict[str, type[Value]]] = {}
    arrays: ClassVar[tuple[str, ...]] = ()
    """The fields that hold numbers by the thousand: they go into the NPZ, the rest into the manifest."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Value.kinds[cls.__name__] = cls

    def manifest(self) -> dict[str, Any]:
        """Everything but the arrays, as plain data that JSON can hold."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*self.arrays, "record")}
        return {"kind": type(self).__name__, **_plain(plain), "record": _plain(asdict(self.record))}

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write this value to ``path``; the ending says what: ``.png``, ``.npz`` or ``.json``.

        Raises:
            CannotWrite: the folder is missing, the place is not writable or the ending is none of these.
        """
        path = writable(path)
        writers = {".png": self._save_png, ".npz": self._save_npz, ".json": self._save_json}
        if path.suffix.lower() not in writers:
            raise CannotWrite(f"cannot tell what to write from {path.name!r}: end it in {', '.join(writers)}")
        try:
            writers[path.suffix.lower()](path, **options)
        except CannotWrite:
            raise
        except OSError as error:
            path.unlink(missing_ok=True)  # half a file is worse than none
            raise CannotWrite(f"cannot write {str(path)!r}: {error.strerror or error}") from error
        return path

    def _save_json(self, path: Path) -> None:
        path.write_text(json.dumps(self.manifest(), indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")

    def _save_npz(self, path: Path) -> None:
        import numpy as np

        stored: dict[str, np.ndarray[Any, Any]] = {"manifest": np.array(json.dumps(self.manifest()))}
        for name in self.arrays:
            stored |= _pack(name, getattr(self, name))
        with path.open("wb") as file:
            np.savez_compressed(file, **stored)  # type: ignore[arg-type]

    def _save_png(self, path: Path, **options: Any) -> None:
        self.picture(**options).save(path, manifest=json.dumps(self.manifest(), ensure_ascii=False))

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
            record = Record(**{**record, "cost": Cost(**record["cost"]), "caveats": tuple(record["caveats"])})
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

    def with_record(self, record: Record) -> Self:
        """The same value, saying where it comes from."""
        return replace(self, record=record)

    def picture(self, **options: Any) -> Any:
        """Draw this value: an image with its scale, its title and one line on how to read it."""
        assert _renderer is not None, "the package root names the renderer"
        return _renderer().picture(self, **options)

    def show(self, **options: Any) -> None:
        """Draw this value where the person is: in the notebook's output or in the system's viewer."""
        self.picture(**options).show()

    def _repr_png_(self) -> bytes:
        return bytes(self.picture().png())


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution(Value):
    """How much each place of one input speaks for the target, as raw signed numbers.

    Attributes:
        values: float32, the spatial shape of the input (height, width): the map, signed and unnormalised.
        layer_values: address → float32 map at that layer's own resolution (CAM methods).
        channels: float32 (channels, height, width): the map before its channels were pooled, where there is one.
        uncertainty: float32 maps of how sure the values are, where a lens measures that: ``"spread"`` (standard
            deviation over copies), ``"band"`` (half-width of the 95 % confidence interval), ``"sign agreement"``
            (share of copies with the value's sign).
        signed: whether negative numbers mean "speaks against"; unsigned maps are never below zero.
        target: the explained number in words; ``target_index`` the class, where it is one.
        score: the explained number itself, before softmax.
        layers: the addresses the map was read at.
        input: the prepared input (channels, height, width) and ``picture_of_input`` how to show it.
        notes: facts measured in passing, such as ``"completeness gap"``.
    """

    arrays: ClassVar[tuple[str, ...]] = ("values", "layer_values", "channels", "uncertainty", "photo")

    values: Tensor
    layer_values: Mapping[str, Tensor] = field(default_factory=dict)
    channels: Tensor | None = None
    uncertainty: Mapping[str, Tensor] = field(default_factory=dict)
    photo: np.ndarray[Any, Any] | None = None
    signed: bool = True
    target: str = ""
    target_index: int | None = None
    score: float | None = None
    layers: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The lens that made this, as the command line calls it."""
        return self.record.lens

    @property
    def cost(self) -> Cost:
        """What this map cost."""
        return self.record.cost

    @property
    def blank(self) -> bool:
        """Whether the map is zero everywhere."""
        return not bool(self.values.any())

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in ("values", "channels"):
            if stored.get(name) is not None:
                stored[name] = torch.from_numpy(stored[name])
        for name in ("layer_values", "uncertainty"):
            stored[name] = {key: torch.from_numpy(found) for key, found in stored.get(name, {}).items()}
        return {**stored, "layers": tuple(stored["layers"])}

    def __repr__(self) -> str:
        low, high = float(self.values.min()), float(self.values.max())
        shape = "×".join(str(side) for side in self.values.shape)
        return f"Attribution({self.method}: {self.target!r}, {shape}, {low:.3g} … {high:.3g})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction(Value):
    """What the network answers: the best classes with their confidence (softmax) and their raw scores.

    Attributes:
        labels: the best classes, the best first; ``indices`` their numbers.
        confidences: their softmax probabilities (sigmoid for a single output); ``scores`` the raw outputs.
    """

    arrays: ClassVar[tuple[str, ...]] = ("photo",)

    labels: tuple[str, ...]
    indices: tuple[int, ...]
    confidences: tuple[float, ...]
    scores: tuple[float, ...]
    photo: np.ndarray[Any, Any] | None = None

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        listed = ("labels", "indices", "confidences", "scores")
        return {**stored, **{name: tuple(stored[name]) for name in listed}}

    def __repr__(self) -> str:
        best = zip(self.labels, self.confidences, strict=True)
        return f"Prediction({', '.join(f'{label} {share:.1%}' for label, share in best)})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison(Value):
    """Several values side by side: one row an image; one column a lens, a target or a model.

    Attributes:
        rows: the attributions, all rows of the same length.
        titles: what the columns are called; by default their lenses.
        scales: columns with the same number here share one colour scale; by default each has its own.
    """

    rows: tuple[tuple[Attribution, ...], ...]
    titles: tuple[str, ...] = ()
    scales: tuple[int, ...] = ()
    arrays: ClassVar[tuple[str, ...]] = ()

    @cached_property
    def rank_similarity(self) -> Tensor | None:
        """Spearman's rank correlation between columns (K, K), the mean over rows; none of a single column."""
        return self._measured("rank_similarity", self.rows)

    @cached_property
    def structural_similarity(self) -> Tensor | None:
        """The structural similarity index (SSIM) between columns (K, K), the mean over rows."""
        return self._measured("structural_similarity", self.rows)

    @cached_property
    def agreement(self) -> tuple[Tensor, ...]:
        """Per row, for each place the share of columns that have it among the strongest fifth that speak for."""
        maps = [self._measured("agreement", row) for row in self.rows]
        return tuple(one for one in maps if one is not None)

    def _measured(self, measure: str, of: Any) -> Tensor | None:
        """One measure of how alike the columns are, taken only when it is asked for."""
        assert _measures is not None, "the package root names who measures"
        found: Tensor | None = getattr(_measures(), measure)(of) if len(self.rows[0]) > 1 else None
        return found

    def manifest(self) -> dict[str, Any]:
        """The manifests of all cells, row by row, and how alike the columns are."""
        alike = {
            name: None if matrix is None else _plain(matrix.tolist())
            for name, matrix in (
                ("rank similarity", self.rank_similarity),
                ("structural similarity", self.structural_similarity),
            )
        }
        cells = [[cell.manifest() for cell in row] for row in self.rows]
        titles = list(self.titles) or [cell.record.title for cell in self.rows[0]]
        return {"kind": "Comparison", "columns": titles, **alike, "rows": cells, "record": _plain(asdict(self.record))}

    def _save_npz(self, path: Path) -> None:
        raise CannotWrite("a comparison has no numbers of its own: save its attributions, or use .png or .json")

    def __iter__(self) -> Any:
        return (cell for row in self.rows for cell in row)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What is said of one lens: whether it fits, why or why not, and about how many passes it takes."""

    lens: str
    title: str
    asks: str
    fits: bool
    why: str
    passes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Recommendation(Value):
    """Which lenses fit a network and a question, the best first, and why the others do not."""

    question: str
    lenses: tuple[Advice, ...]

    @property
    def best(self) -> list[str]:
        """The names of those that fit."""
        return [one.lens for one in self.lenses if one.fits]

    def __str__(self) -> str:
        width = max(len(one.lens) for one in self.lenses)
        fitting = [f"  {one.lens:<{width}}  {one.why}" for one in self.lenses if one.fits]
        others = [f"  {one.lens:<{width}}  {one.why}" for one in self.lenses if not one.fits]
        return "\n".join([f"To ask {self.question!r}:", *fitting, *(["Not these:", *others] if others else [])])

    def __repr__(self) -> str:
        return f"Recommendation({self.question!r}: {', '.join(self.best[:5])}, …)"

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        return {**stored, "lenses": tuple(Advice(**one) for one in stored["lenses"])}


def writable(path: str | Path) -> Path:
    """``path``, once it is sure that a file can be written there; checked before long work begins."""
    import os

    try:
        path = Path(path).expanduser()
        if path.is_dir():
            raise CannotWrite(f"cannot write {str(path)!r}: it is a folder")
        if not path.parent.is_dir():
            raise CannotWrite(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")
        place = path if path.exists() else path.parent
    except CannotWrite:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise CannotWrite(f"cannot write {str(path)[:80]!r}: {error.args[-1] if error.args else error}") from error
    if not os.access(place, os.W_OK):
        raise CannotWrite(f"cannot write {str(path)!r}: no permission to write to {str(place)!r}")
    return path


def _plain(thing: Any) -> Any:
    """Only what JSON can hold; arrays and tensors become a word on their shape."""
    if isinstance(thing, Mapping):
        return {str(key): _plain(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple, set, frozenset)):
        return [_plain(value) for value in thing]
    if isinstance(thing, float) and not math.isfinite(thing):
        return str(thing)  # infinity and NaN are no JSON
    if thing is None or isinstance(thing, (str, bool, int, float)):
        return thing
    if isinstance(thing, Advice):
        return asdict(thing)
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
