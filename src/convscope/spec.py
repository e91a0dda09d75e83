"""What a lens, a loader or a sample declares about itself, and the tables those declarations fill.

A declaration is read by every surface: Python checks arguments with it, the command line makes options of it,
the docs their tables, the tests their conformance rows. It therefore holds plain data and imports nothing heavy.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal, TypeVar

from convscope.errors import ParameterError, UnknownName, did_you_mean

FAMILIES: Mapping[str, str] = {
    "prediction": "What it answers",
    "structure": "Structure: what the network is built of",
    "activations": "Inside: what it computes",
    "gradient": "Gradients: what in the input the answer hangs on",
    "cam": "Class activation maps: which regions gave the answer",
    "backward": "Backward rules: how the answer flows back, operation by operation",
    "perturbation": "Perturbation, surrogates, regions: what changes when parts are taken away",
    "learned": "Learned: what its units look for",
}
"""The families of lenses, in the order in which people meet them."""

INPUTS = ("model", "image", "images", "target", "layer", "unit", "guide", "style")
"""The parameters with a meaning of their own, which a lens is handed ready for use: the model, pictures of which each
is looked at for itself (``image``) or all together (``images``), what is explained and where, and second pictures."""


@dataclass(frozen=True)
class Param:
    """What a person needs to know of one parameter, and what values it takes.

    Attached to the annotation: ``samples: Annotated[int, Param(help="noisy copies to average", min=1, max=512)]``.
    ``joined`` is what stands between the whole numbers of a text (``"x"`` in ``"16x8"``); ``min`` and ``max`` then hold
    for each of them.
    """

    help: str
    min: float | None = None
    max: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    joined: str = ""

    def range(self) -> str:
        """The values it takes, in words: ``1 to 512``, ``0 or more``, ``black, white or blur``."""
        if self.choices:
            return ", ".join(self.choices[:-1]) + f" or {self.choices[-1]}"
        if self.min is None and self.max is None:
            return ""
        if self.max is None:
            return f"{self.min:g} or more"
        return f"at most {self.max:g}" if self.min is None else f"{self.min:g} to {self.max:g}"


@dataclass(frozen=True)
class Parameter:
    """One declared parameter of a lens: its name, its kind, its default and its `Param`."""

    name: str
    kind: type
    default: Any
    about: Param
    also: tuple[type, ...] = ()
    """Other types that Python callers may pass as they are (a tensor where a name is usual)."""

    def check(self, value: Any) -> Any:
        """``value`` as this parameter's kind, or a refusal that names the parameter."""
        if self.also and isinstance(value, self.also):
            return value
        if self.about.choices:
            return self._choice(value)
        if self.kind is str:
            if isinstance(value, str):
                return self._joined(value) if self.about.joined else value
            raise ParameterError(f"{self.name} must be a text, got {_short(value)}")
        if self.kind is bool:
            if isinstance(value, bool):
                return value
            raise ParameterError(f"{self.name} must be True or False, got {value!r}")
        return self._number(value)

    def _joined(self, text: str) -> str:
        """A text whose numbers are all within the limits; how many there must be is for the lens to say."""
        joined, low, high = self.about.joined, self.about.min or 0, self.about.max or 0
        parts = text.lower().replace("×", "x").replace(joined, " ").split()
        if not all(part.isdecimal() and len(part) < 10 and low <= int(part) <= high for part in parts):
            limits = f"{self.about.range()}{f' ({self.about.unit})' if self.about.unit else ''}"
            raise ParameterError(
                f"{self.name} must be whole numbers, each {limits}, joined by {joined!r}, got {_short(text)}"
            )
        return text

    def _choice(self, value: Any) -> str:
        if isinstance(value, str) and value in self.about.choices:
            return value
        near = did_you_mean(value, self.about.choices) if isinstance(value, str) else ""
        raise ParameterError(f"{self.name} must be {self.about.range()}, got {_short(value)}{near}")

    def _number(self, value: Any) -> Any:
        whole = self.kind is int
        try:
            number = value.__index__() if whole else float(value)
        except (AttributeError, TypeError, ValueError, OverflowError):
            number = None
        numeric = not isinstance(value, (bool, str, bytes)) and str(getattr(value, "dtype", "")).find("bool") < 0
        if number is None or not numeric or not (whole or math.isfinite(number)):
            kind = "a whole number" if whole else "a number"
            raise ParameterError(f"{self.name} must be {kind}, got {_short(value)}")
        low, high = self.about.min, self.about.max
        if (low is not None and number < low) or (high is not None and number > high):
            unit = f" ({self.about.unit})" if self.about.unit else ""
            raise ParameterError(f"{self.name} must be {self.about.range()}{unit}, got {_short(value)}")
        return number

    def bad_value(self) -> Any:
        """A value this parameter must refuse; the conformance tests try it on every lens."""
        if self.about.choices or self.kind is bool:
            return "no such choice"
        if self.about.joined:
            return f"{self.about.max:g}{self.about.joined}{self.about.max + 1:g}"  # type: ignore[operator]
        if self.about.max is not None:
            return self.about.max + 1
        return self.about.min - 1 if self.about.min is not None else math.nan


SMOOTH = Parameter(
    "smooth", int, None, Param("average over so many noisy copies of the image", min=2, max=4096, unit="copies")
)
"""What every map that can be averaged is asked beside its own parameters."""


SMOOTH_OF = Parameter(
    "smooth_of",
    str,
    None,
    Param(
        "what is taken over the noisy copies: the mean, the mean of squares (SmoothGrad²), the variance (VarGrad)",
        choices=("mean", "mean-square", "variance"),
    ),
)
"""What is taken over the copies, where a map is averaged."""


@dataclass(frozen=True, eq=False, repr=False)
class LensSpec:
    """The declaration of one lens."""

    name: str
    family: str
    title: str
    cite: str
    asks: str
    reads: str
    function: Callable[..., Any]
    claims: frozenset[str] = frozenset()
    fails: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    """Those of `INPUTS` that this lens takes."""
    required: tuple[str, ...] = ()
    """Those of its inputs that must be given."""
    positional: tuple[str, ...] = ()
    """What may be given without a name, in this order."""
    returns: str = "Attribution"

    @property
    def command(self) -> str:
        """The name on the command line."""
        return self.name.replace("_", "-")

    @property
    def each_image(self) -> bool:
        """Whether it gives one value per picture; otherwise one value in all."""
        return "image" in self.required

    @property
    def attributes(self) -> bool:
        """Whether it says how much the parts of an input, or the units of a layer, speak for an answer."""
        return self.returns in ("Attribution", "LayerAttribution")

    @property
    def can_average(self) -> bool:
        """Whether its maps can be averaged over copies: not those of a unit, whose strongest place moves."""
        return self.returns == "Attribution" and "unit" not in self.inputs

    @property
    def options(self) -> dict[str, Parameter]:
        """All that a person may set: its own parameters, and where its maps can be averaged, over how many copies."""
        for_all = (SMOOTH, SMOOTH_OF) if self.can_average else ()
        return {**self.parameters, **{parameter.name: parameter for parameter in for_all}}

    @property
    def takes_layer(self) -> bool:
        """Whether it looks at layers."""
        return "layer" in self.inputs

    @property
    def takes_target(self) -> bool:
        """Whether it explains a target."""
        return "target" in self.inputs

    def checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters of this lens with ``given`` put in, each checked, none unknown."""
        for name in given:
            if name not in self.parameters:
                known = [*self.parameters, *(i for i in self.inputs if i not in ("model", "image", "images"))]
                listed = f" (it takes {', '.join(known)})" if known else " (it takes none)"
                raise ParameterError(f"{self.command} has no parameter {name!r}{did_you_mean(name, known)}{listed}")
        return {name: p.check(given.get(name, p.default)) for name, p in self.parameters.items()}

    def __repr__(self) -> str:
        return f"LensSpec({self.command}: {self.asks})"


class Lenses(list[LensSpec]):
    """Declarations of lenses, shown at a prompt and in a notebook as a table: the name of each and its question."""

    def __repr__(self) -> str:
        width = max((len(spec.name) for spec in self), default=0)
        parts = [
            "\n".join([title, *(f"  {spec.name:<{width}}  {spec.asks}" for spec in members)])
            for title, members in self._by_family()
        ]
        return "\n".join([*parts, f"{len(self)} lenses; help(cs.NAME) says more of one"])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th colspan="2" style="text-align:left">{escape(title)}</th></tr>'
            + "".join(
                f'<tr><td style="text-align:left"><code>{escape(spec.name)}</code></td>'
                f'<td style="text-align:left">{escape(spec.asks)}</td></tr>'
                for spec in members
            )
            for title, members in self._by_family()
        )
        return f"<table>{rows}</table>"

    def _by_family(self) -> list[tuple[str, list[LensSpec]]]:
        """The lenses of each family that has any, with its title."""
        families = dict.fromkeys(spec.family for spec in self)
        return [(FAMILIES[family], [spec for spec in self if spec.family == family]) for family in families]


@dataclass(frozen=True)
class LoaderSpec:
    """The declaration of one loader: ``scheme:NAME`` (or a file ending) and the function that opens it."""

    scheme: str
    title: str
    example: str
    function: Callable[..., Any]
    names: Callable[[], list[str]]
    extra: str = ""


@dataclass(frozen=True)
class SampleSpec:
    """The declaration of one source of sample inputs: ``sample:NAME/KEY``."""

    name: str
    title: str
    function: Callable[[str], Any]
    keys: tuple[str, ...]
    """A few keys worth trying, the first of which stands in examples."""
    count: int = 0
    """How many, numbered from 0, the whole collection ``sample:NAME`` has; 0 where it has just ``keys``."""


Spec = TypeVar("Spec")


class Table(Mapping[str, Spec]):
    """Declarations by name, which refuses a name twice and suggests one when asked for an unknown."""

    def __init__(self, what: str, listed_by: str) -> None:
        self.what, self.listed_by = what, listed_by
        self._specs: dict[str, Spec] = {}

    def add(self, name: str, spec: Spec) -> None:
        """Put a declaration in; a name is declared once."""
        if name in self._specs:
            raise ValueError(f"{self.what} {name!r} is declared twice")
        self._specs[name] = spec

    def find(self, name: str) -> Spec:
        """The declaration of that name, underscores and dashes alike."""
        fill_tables()
        for spelling in (name, name.replace("-", "_"), name.replace("_", "-")):
            if spelling in self._specs:
                return self._specs[spelling]
        near = did_you_mean(name, self._specs)
        raise UnknownName(f"no {self.what} {name!r}{near} ({self.listed_by})")

    def __getitem__(self, name: str) -> Spec:
        return self._specs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


LENSES: Table[LensSpec] = Table("lens", "'convscope lenses' lists them")
LOADERS: Table[LoaderSpec] = Table("kind of model", "'convscope models' lists what can be loaded")
SAMPLES: Table[SampleSpec] = Table("sample", "there are sample:digits/3, sample:shapes/7 and sample:photo/china")


def loader(
    *,
    scheme: str,
    title: str,
    example: str,
    names: Callable[[], list[str]],
    extra: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function ``(name, *, chosen, weights, trust) -> Model`` as what opens ``scheme:name``.

    Args:
        scheme: what stands before the colon.
        title: what it opens, in words.
        example: an address that works.
        names: the names it knows, for lists and suggestions; empty where any name may be right.
        extra: the extra of this package that installs what it needs.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        LOADERS.add(scheme, LoaderSpec(scheme, title, example, function, names, extra))
        return function

    return declare


_fill: Callable[[], Any] = lambda: None  # noqa: E731


def filled_by(fill: Callable[[], Any]) -> None:
    """Tell the tables who imports everything that declares."""
    global _fill
    _fill = fill


def fill_tables() -> None:
    """Have everything that declares imported, once."""
    _fill()


def read_parameters(function: Callable[..., Any], inputs: tuple[str, ...]) -> dict[str, Parameter]:
    """The declared parameters of a lens, from its signature."""
    hints = typing.get_type_hints(function, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in inputs:
            found[name] = _read(name, hints[name], parameter.default)
    return found


def _read(name: str, hint: Any, default: Any) -> Parameter:
    about = next((extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Param)), None)
    if about is None or default is inspect.Parameter.empty:
        raise TypeError(f"parameter {name!r} of a lens needs Annotated[..., Param(help=...)] and a default")
    if about.joined and (about.min is None or about.max is None):
        raise TypeError(f"parameter {name!r} of a lens holds numbers, which need a min and a max")
    kind = typing.get_args(hint)[0]
    union = typing.get_origin(kind) in (types.UnionType, typing.Union)
    kinds = typing.get_args(kind) if union else (kind,)
    if typing.get_origin(kinds[0]) is Literal:
        choices = typing.get_args(kinds[0])
        about = Param(**{**vars(about), "choices": choices})
        kinds = (str, *kinds[1:])
    return Parameter(name, kinds[0], default, about, also=tuple(kinds[1:]))


def _short(value: Any) -> str:
    text = repr(value) if not hasattr(value, "shape") else f"{type(value).__name__}{tuple(value.shape)}"
    return text if len(text) < 60 else text[:57] + "…"
