"""The declaration of a lens, as an object, as plain data and in lists."""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from convscope.errors import ParameterError, did_you_mean
from convscope.spec.inputs import INPUT_KINDS, InputKind, inputs_with
from convscope.spec.parameters import Param, Parameter, parameter_from_json
from convscope.values import Value

if TYPE_CHECKING:
    from convscope.spec.tasks import Task

FAMILIES: Mapping[str, str] = {
    "prediction": "What it answers",
    "structure": "Structure: what the network consists of",
    "activations": "Inside: what it computes",
    "gradient": "Gradients: how the score depends on each part of the input",
    "cam": "Class activation maps: which regions support the score",
    "attention": "Attention: which tokens exchange information",
    "backward": "Backward rules: the score propagated back, operation by operation",
    "perturbation": "Perturbation, surrogates, regions: how the score changes when parts are removed",
    "learned": "Learned: what its units respond to",
}
"""The families of lenses, in the order in which lists show them. They are labels: no behavior depends on them."""

NEEDS = ("gradients", "operations", "scores", "layers", "attention", "gates")
"""What a lens may use of a network: gradients of its output, rules for each of its operations in the backward pass, the
scores of many forward passes that it compares, its layers and their parameters, weights with which its tokens attend to
each other, or gates that it multiplies onto features."""

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
    made_for: frozenset[str] = frozenset()
    """What a network has for which it shows more than related lenses, of `NEEDS`; it runs without."""
    claims: frozenset[str] = frozenset()
    fails: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    """Those of `INPUT_KINDS` that this lens has."""
    required: tuple[str, ...] = ()
    """Those of its inputs that have no default."""
    positional: tuple[str, ...] = ()
    """Parameters that may be passed without a name, in this order."""
    returns: type[Value] = Value
    """The kind of value that it gives: one for each image, or a single one."""

    @property
    def input_kinds(self) -> tuple[InputKind, ...]:
        """The kinds of its inputs, in the order of its signature."""
        return tuple(INPUT_KINDS[name] for name in self.inputs)

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
        return self.returns.attributes

    @property
    def gives_map(self) -> bool:
        """Whether it gives a map over the input."""
        return self.returns.is_map

    @property
    def depends_on_explained(self) -> bool:
        """Whether its value depends on which of several inputs it is given, since it explains or changes that one."""
        return self.returns.attributes or self.returns.is_optimized

    @property
    def can_average(self) -> bool:
        """Whether its maps can be averaged over copies: not those of a unit, whose strongest position moves."""
        return self.gives_map and "unit" not in self.inputs

    @property
    def needs_only_scores(self) -> bool:
        """Whether it runs the network and reads nothing but the output, so that it works on any function."""
        return self.needs <= {"scores"} and {"layer", "unit"}.isdisjoint(self.inputs) and "model" in self.inputs

    @property
    def options(self) -> dict[str, Parameter]:
        """Its own parameters, and those of averaging where its maps can be averaged."""
        common = (SMOOTH, SMOOTH_OF) if self.can_average else ()
        return {**self.parameters, **{parameter.name: parameter for parameter in common}}

    @property
    def many_passes(self) -> bool:
        """Whether it needs hundreds of passes with its default parameters."""
        return "scores" in self.needs or self.returns.is_optimized

    @property
    def takes_layer(self) -> bool:
        """Whether it has a parameter ``layer``."""
        return "layer" in self.inputs

    @property
    def takes_target(self) -> bool:
        """Whether it has a parameter ``target``."""
        return "target" in self.inputs

    def weakness_for(self, task: "Task | None") -> str:
        """Why its map says little about targets of this task, as its declaration has it; empty where it has nothing."""
        return self.fails.get("place", "") if task is not None and task.about_a_place else ""

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
        plain = {**{name: getattr(self, name) for name in _PLAIN_FIELDS}, "returns": self.returns.__name__}
        plain |= {name: sorted(getattr(self, name)) for name in ("needs", "made_for", "claims")}
        plain |= {name: list(getattr(self, name)) for name in ("inputs", "required", "positional")}
        parameters = {name: parameter.as_json() for name, parameter in self.parameters.items()}
        return {**plain, "fails": dict(self.fails), "parameters": parameters}

    def __repr__(self) -> str:
        return f"LensSpec({self.command}: {self.asks})"


_PLAIN_FIELDS = ("name", "family", "title", "cite", "asks", "reads")


def lens_from_json(plain: Mapping[str, Any]) -> LensSpec:
    """A declaration from `LensSpec.as_json`. It serves lists and help texts; its function cannot be called."""

    def not_imported(*_args: Any, **_named: Any) -> Any:
        raise RuntimeError(f"{plain['name']} was declared from data: convscope.catalogue.find imports the lens itself")

    return LensSpec(
        **{name: plain[name] for name in _PLAIN_FIELDS},
        function=not_imported,
        returns=Value.kind_named(plain["returns"]),
        needs=frozenset(plain["needs"]),
        made_for=frozenset(plain["made_for"]),
        claims=frozenset(plain["claims"]),
        fails=plain["fails"],
        parameters={name: parameter_from_json(name, fields) for name, fields in plain["parameters"].items()},
        inputs=tuple(plain["inputs"]),
        required=tuple(plain["required"]),
        positional=tuple(plain["positional"]),
    )


class Lenses(list[LensSpec]):
    """A list of declarations that a prompt and a notebook show as a table of names and questions."""

    def __repr__(self) -> str:
        width = max((len(spec.name) for spec in self), default=0)
        parts = [
            "\n".join([title, *(_table_row(spec, width) for spec in members)]) for title, members in self._by_family()
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


_TABLE_WIDTH = 140
"""The width of the table of lenses in characters; a longer question continues below its beginning."""


def _table_row(spec: LensSpec, name_width: int) -> str:
    """The name and the question of a lens."""
    beginning = f"  {spec.name:<{name_width}}  "
    return textwrap.fill(
        spec.asks,
        _TABLE_WIDTH,
        initial_indent=beginning,
        subsequent_indent=" " * len(beginning),
        break_long_words=False,
    )
