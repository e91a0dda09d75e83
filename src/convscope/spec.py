"""What a lens, a loader or a sample declares about itself, and the tables that hold these declarations.

Every surface reads them: Python checks arguments against them, the command line derives options, the docs derive
tables, the tests derive conformance rows. They are therefore plain data, and this file imports nothing heavy.
"""

import importlib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Literal, TypeVar

from convscope._names import lens_modules
from convscope.errors import ParameterError, UnknownName, did_you_mean

FAMILIES: Mapping[str, str] = {
    "prediction": "What it answers",
    "structure": "Structure: what the network consists of",
    "activations": "Inside: what it computes",
    "gradient": "Gradients: how the score depends on each part of the input",
    "cam": "Class activation maps: which regions support the score",
    "backward": "Backward rules: the score propagated back, operation by operation",
    "perturbation": "Perturbation, surrogates, regions: how the score changes when parts are removed",
    "learned": "Learned: what its units respond to",
}
"""The families of lenses, in the order in which lists show them. They are labels: no behavior depends on them."""

NEEDS = ("gradients", "operations", "scores")
"""What a lens may use of a network: gradients of its output, rules for each of its operations in the backward pass, or
the scores of many forward passes that it compares."""


@dataclass(frozen=True)
class InputKind:
    """A parameter with a fixed meaning, which every surface writes and prepares in the same way.

    Attributes:
        name: the name of the parameter.
        label: what forms call it.
        content: a ``network``, an ``image`` (processed one by one), a ``data set`` (processed as a whole), a ``second
            image`` beside the explained one, or an ``address`` that is written as text.
        several: whether one request may name several of them.
    """

    name: str
    label: str
    content: Literal["network", "image", "data set", "second image", "address"]
    several: bool = False

    @property
    def nothing(self) -> str | tuple[str, ...]:
        """What stands for "not given" in a link and in a form."""
        return () if self.several else ""


INPUT_KINDS: Mapping[str, InputKind] = {
    kind.name: kind
    for kind in (
        InputKind("model", "Model", "network"),
        InputKind("image", "Image", "image"),
        InputKind("images", "Images", "data set"),
        InputKind("target", "Target", "address"),
        InputKind("layer", "Layer", "address", several=True),
        InputKind("unit", "Unit", "address", several=True),
        InputKind("guide", "Guide", "second image"),
        InputKind("style", "Style", "second image"),
    )
}
"""The inputs that a lens may have, by the name of its parameter. Lenses receive them prepared."""

INPUTS = tuple(INPUT_KINDS)


def inputs_with(*contents: str) -> tuple[str, ...]:
    """The names of the inputs with one of these contents.

    Example:
        >>> inputs_with("second image")
        ('guide', 'style')
    """
    return tuple(kind.name for kind in INPUT_KINDS.values() if kind.content in contents)


@dataclass(frozen=True)
class Param:
    """The help text of one parameter, and the values that it accepts.

    Attached to the annotation: ``samples: Annotated[int, Param(help="noisy copies to average", min=1, max=512)]``.
    ``joined`` is the separator between the integers of a text (``"x"`` in ``"16x8"``); ``min`` and ``max`` then limit
    each of them.
    """

    help: str
    min: float | None = None
    max: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    joined: str = ""

    def range(self) -> str:
        """The accepted values in words: ``1 to 512``, ``0 or more``, ``black, white or blur``."""
        if self.choices:
            return ", ".join(self.choices[:-1]) + f" or {self.choices[-1]}"
        if self.min is None and self.max is None:
            return ""
        if self.max is None:
            return f"{self.min:g} or more"
        return f"at most {self.max:g}" if self.min is None else f"{self.min:g} to {self.max:g}"


@dataclass(frozen=True)
class Parameter:
    """One declared parameter of a lens: its name, type, default and `Param`."""

    name: str
    kind: type
    default: Any
    about: Param
    also: tuple[type, ...] = ()
    """Other types that Python callers may pass unchanged (a tensor instead of a name)."""

    def check(self, value: Any) -> Any:
        """``value`` as this parameter's type, or an error that names the parameter."""
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
        """A text whose numbers are all within the limits; the lens checks how many there are."""
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

    def as_json(self) -> dict[str, Any]:
        """The parameter as plain data; further types that only Python callers can pass are left out."""
        return {"kind": self.kind.__name__, "default": self.default, "about": asdict(self.about)}

    def bad_value(self) -> Any:
        """A value that this parameter must refuse; the conformance tests pass it to every lens."""
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
"""An option of every lens whose maps can be averaged, beside its own parameters."""

SMOOTH_OF = Parameter(
    "smooth_of",
    str,
    None,
    Param(
        "what is taken over the noisy copies: the mean, the mean of squares (SmoothGrad²), the variance (VarGrad)",
        choices=("mean", "mean-square", "variance"),
    ),
)
"""The statistic over the copies, where a map is averaged."""


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
    needs: frozenset[str] = frozenset()
    """What it uses of the network, of `NEEDS`."""
    claims: frozenset[str] = frozenset()
    fails: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    """Those of `INPUTS` that this lens has."""
    required: tuple[str, ...] = ()
    """Those of its inputs that have no default."""
    positional: tuple[str, ...] = ()
    """Parameters that may be passed without a name, in this order."""
    returns: str = "Attribution"

    @property
    def command(self) -> str:
        """The name on the command line."""
        return self.name.replace("_", "-")

    @property
    def each_image(self) -> bool:
        """Whether it gives one value per image; otherwise a single value."""
        return "image" in self.required

    @property
    def attributes(self) -> bool:
        """Whether it attributes a score to parts of the input or to units of a layer."""
        return self.returns in ("Attribution", "LayerAttribution")

    @property
    def can_average(self) -> bool:
        """Whether its maps can be averaged over copies: not those of a unit, whose strongest position moves."""
        return self.returns == "Attribution" and "unit" not in self.inputs

    @property
    def options(self) -> dict[str, Parameter]:
        """Its own parameters, and those of averaging where its maps can be averaged."""
        common = (SMOOTH, SMOOTH_OF) if self.can_average else ()
        return {**self.parameters, **{parameter.name: parameter for parameter in common}}

    @property
    def many_passes(self) -> bool:
        """Whether it needs hundreds of passes with its default parameters."""
        return "scores" in self.needs or self.returns == "Pictures"

    @property
    def takes_layer(self) -> bool:
        """Whether it has a parameter ``layer``."""
        return "layer" in self.inputs

    @property
    def takes_target(self) -> bool:
        """Whether it has a parameter ``target``."""
        return "target" in self.inputs

    def checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters of this lens, with ``arguments`` in place of defaults, each of them checked."""
        for name in arguments:
            if name not in self.parameters:
                known = [*self.parameters, *(i for i in self.inputs if i in inputs_with("address", "second image"))]
                listed = f" (it takes {', '.join(known)})" if known else " (it takes none)"
                raise ParameterError(f"{self.command} has no parameter {name!r}{did_you_mean(name, known)}{listed}")
        return {name: p.check(arguments.get(name, p.default)) for name, p in self.parameters.items()}

    def as_json(self) -> dict[str, Any]:
        """The declaration as plain data, from which `lens_from_json` makes it again without its function."""
        plain = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        plain |= {name: sorted(getattr(self, name)) for name in ("needs", "claims")}
        plain |= {name: list(getattr(self, name)) for name in ("inputs", "required", "positional")}
        parameters = {name: parameter.as_json() for name, parameter in self.parameters.items()}
        return {**plain, "fails": dict(self.fails), "parameters": parameters}

    def __repr__(self) -> str:
        return f"LensSpec({self.command}: {self.asks})"


def lens_from_json(plain: Mapping[str, Any]) -> LensSpec:
    """A declaration from `LensSpec.as_json`. It serves lists and help texts; its function cannot be called."""

    def not_imported(*_args: Any, **_named: Any) -> Any:
        raise RuntimeError(f"{plain['name']} was declared from data: convscope.catalogue.find imports the lens itself")

    return LensSpec(
        **{name: plain[name] for name in _PLAIN_FIELDS},
        function=not_imported,
        needs=frozenset(plain["needs"]),
        claims=frozenset(plain["claims"]),
        fails=plain["fails"],
        parameters={name: _parameter_from_json(name, fields) for name, fields in plain["parameters"].items()},
        inputs=tuple(plain["inputs"]),
        required=tuple(plain["required"]),
        positional=tuple(plain["positional"]),
    )


def _parameter_from_json(name: str, plain: Mapping[str, Any]) -> Parameter:
    about = Param(**{**plain["about"], "choices": tuple(plain["about"]["choices"])})
    return Parameter(name, _TYPES[plain["kind"]], plain["default"], about)


_PLAIN_FIELDS = ("name", "family", "title", "cite", "asks", "reads", "returns")
_TYPES: dict[str, type] = {kind.__name__: kind for kind in (int, float, str, bool)}


class Lenses(list[LensSpec]):
    """A list of declarations that a prompt and a notebook show as a table of names and questions."""

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
        """The title of each family in the list, with its lenses."""
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
    """A few keys to try; the first one is used in examples."""
    count: int = 0
    """The size of the collection ``sample:NAME``, numbered from 0; 0 where it has only ``keys``."""


Spec = TypeVar("Spec")


class Table(Mapping[str, Spec]):
    """Declarations by name. A name is declared once, and an unknown name gets a suggestion.

    Args:
        noun: what messages call one of them.
        listed_by: where messages say that all are listed.
        declared_in: the modules that declare them; they are imported when a declaration is looked up.
    """

    def __init__(self, noun: str, listed_by: str, declared_in: Callable[[], Iterable[str]]) -> None:
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
            importlib.import_module(module)

    def find(self, name: str) -> Spec:
        """The declaration of that name, with underscores or dashes."""
        self.fill()
        for spelling in (name, name.replace("-", "_"), name.replace("_", "-")):
            if spelling in self._specs:
                return self._specs[spelling]
        near = did_you_mean(name, self._specs)
        raise UnknownName(f"no {self.noun} {name!r}{near} ({self.listed_by})")

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
SAMPLES: Table[SampleSpec] = Table(
    "sample", "there are sample:digits/3, sample:shapes/7 and sample:photo/china", lambda: ("convscope.samples",)
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


def read_parameters(function: Callable[..., Any], inputs: tuple[str, ...]) -> dict[str, Parameter]:
    """The declared parameters of a lens, from its signature."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in inputs:
            parameters[name] = _parameter(name, hints[name], parameter.default)
    return parameters


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
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
