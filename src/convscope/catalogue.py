"""Everything that is declared, and the few calls that need all of it: open a model, list lenses, compare them."""

import ast
import functools
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope._names import lens_modules
from convscope.errors import LoadError, ParameterError, UnknownName, did_you_mean
from convscope.spec import FAMILIES, LENSES, LOADERS, Lenses, LensSpec
from convscope.values import Advice, Comparison, Recommendation

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

DEFAULT_COMPARISON = ("grad-cam", "layer-cam", "saliency", "integrated-gradients")
_DECLARING = ("convscope.samples", "convscope.loaders")


@functools.cache
def fill() -> None:
    """Import everything that declares, once."""
    for module in (*_DECLARING, *lens_modules().values()):
        importlib.import_module(module)


@dataclass(frozen=True)
class Outline:
    """What can be said of a lens without importing it: enough for a list and a help page."""

    name: str
    family: str
    title: str
    asks: str
    module: str

    @property
    def command(self) -> str:
        """The name on the command line."""
        return self.name.replace("_", "-")


@functools.cache
def outlines() -> tuple[Outline, ...]:
    """All lenses by family, read from the text of their declarations; nothing is imported, torch least of all."""
    found = [_outline(name, module) for name, module in lens_modules().items()]
    order = list(FAMILIES)
    return tuple(sorted(found, key=lambda o: (order.index(o.family), o.name)))


def lenses() -> Lenses:
    """The declarations of all lenses, by family and name: a list, which a prompt and a notebook show as a table.

    Example:
        >>> import convscope as cs
        >>> [spec.command for spec in cs.lenses()][:1]
        ['predict']
    """
    fill()
    return Lenses(LENSES[outline.name] for outline in outlines())


def find(name: str) -> LensSpec:
    """The declaration of the lens of that name, dashes and underscores alike, without importing the others."""
    if not isinstance(name, str):
        raise UnknownName(f"no lens {name!r}: a lens is named by a text such as 'grad-cam'")
    modules = lens_modules()
    asked = name.replace("-", "_")
    if asked not in modules:
        near = did_you_mean(name, [m.replace("_", "-") for m in modules])
        raise UnknownName(f"no lens {name!r}{near} ('convscope lenses' lists all {len(modules)})")
    importlib.import_module(modules[asked])
    return LENSES[asked]


def call(name: str, /, *args: Any, **named: Any) -> Any:
    """Call a lens by name."""
    declaration = find(name)
    return getattr(importlib.import_module(declaration.function.__module__), declaration.name)(*args, **named)


def load(
    address: str | Path,
    weights: str | Path | None = None,
    *,
    labels: Any = None,
    size: int | tuple[int, int] | None = None,
    resize: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    device: str | None = None,
    trust: bool = False,
) -> "Model":
    """Open a model by its address.

    Args:
        address: ``torchvision:resnet50``, ``timm:convnext_tiny``, ``bundled:shapes``, ``net.py:make``; add
            ``?weights=none`` for random weights, ``?weights=FILE`` for those of a file, ``?output=PART`` for a part of
            a tuple or dict output, or for what the output is: ``?output=probabilities`` (see `Model`),
            ``?layout=LAYER:N,T,C`` for how a layer's output lies where that cannot be found out, ``?spacing=5,1,1`` for
            the size of a volume's voxels, ``?rate=16000`` for a signal's samples a second, and ``?labels=FILE``,
            ``?size=224``, ``?resize=256``, ``?mean=0.5,0.5,0.5``, ``?std=…`` for the arguments of these names; ``&``
            joins several.
        weights: a file to load into it: .safetensors, or a .pt / .pth state dict.
        labels: the names of the classes, as `Model` takes them, or a file with them: a name a line, or JSON.
        size: (height, width) of prepared images, or one number for a square, where the weights want another size than
            the architecture's own.
        resize: what the shorter side is scaled to before the middle is cut out; ``size`` alone makes it the size.
        mean, std: per channel, of pixels scaled to 0 … 1.
        device: where to put it, such as ``cuda:1``; the CPU by default.
        trust: allow a weight file that runs code when it is opened. Only for files you made yourself.

    Returns:
        A `Model` with its preprocessing, its labels and its source. For weights of your own the preparation of images
        is that of the architecture's own weights, and a caveat says so until it is given here.

    Raises:
        UnknownName: no such loader or architecture; the message suggests one.
        LoadError: a file cannot be read, does not fit, cannot be fetched or would run code; or an option is unknown.
        MissingExtra: the library behind the loader is not installed.

    Example:
        >>> import convscope as cs
        >>> cs.load("bundled:digits")
        Model(digits, 1×32×32 input, 10 labels)
        >>> cs.load("bundled:shapes", size=64).input.size
        (64, 64)
    """
    from convscope.loaders.address import parsed, said_of, tell, weights_of

    fill()
    scheme, name, options = parsed(str(address))
    if scheme not in LOADERS:
        known = ", ".join(f"{spec.example}" for spec in LOADERS.values())
        raise UnknownName(
            f"cannot open {str(address)!r}: no kind of model {scheme!r}{did_you_mean(scheme, LOADERS)} (try {known})"
        )
    given = {"weights": weights, "labels": labels, "size": size, "resize": resize, "mean": mean, "std": std}
    chosen, weights = weights_of(str(address), options, weights)
    said = said_of(str(address), options, {name: value for name, value in given.items() if value is not None})
    model: Model = LOADERS[scheme].function(name, chosen=chosen, weights=weights, trust=trust)
    tell(model, options, said)
    return _placed(model, device) if device else model


def _placed(model: "Model", device: str) -> "Model":
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise LoadError(
            f"there is no device {device!r} here: {reason} ('convscope doctor' lists what there is)"
        ) from error


def compare(
    model: Any,
    image: Any,
    lenses: str | Sequence[str] | None = None,
    *,
    targets: Sequence[Any] | None = None,
    **shared: Any,
) -> Comparison:
    """Put lenses side by side on the same images; or one lens over several targets, or over several models.

    Args:
        model: the network; a list of networks gives each its columns.
        image: one image or several; each becomes a row.
        lenses: names of lenses, each a column; a choice of different families by default.
        targets: several targets, each with its columns: ``["cat", "dog", "cat - dog"]`` asks why A rather than B.
        shared: ``target`` and ``layer`` for those that take them, ``smooth``, and parameters that several lenses have.

    Returns:
        A `Comparison` with the attributions, how alike the columns are in rank and in structure, and a map per image
        of how many of them point at each place. Columns of the same lens share one scale. Lenses that need the same
        gradients share one forward and one backward.

    Raises:
        UnknownName: no such lens.
        ParameterError: a parameter that none of the lenses has, or both ``target`` and ``targets``.

    Example:
        >>> import convscope as cs
        >>> model = cs.load("bundled:shapes")
        >>> c = cs.compare(model, "sample:shapes/7", ["grad-cam", "saliency"])
        >>> [a.method for a in c]
        ['grad-cam', 'saliency']
        >>> cs.compare(model, "sample:shapes/7", "grad-cam", targets=["crescent", "star"]).titles
        ('crescent (7)', 'star (3)')
    """
    from convscope.engine.context.metering import progress_of_part
    from convscope.engine.context.progress_bar import shown
    from convscope.runtime.multi_run import explain_with_each

    declarations = _to_compare(lenses)
    models = list(model) if isinstance(model, (list, tuple)) else [model]
    if not models:
        raise UnknownName("there is nothing to compare: the list of models is empty")
    if targets is not None and ("target" in shared or isinstance(targets, str) or not list(targets)):
        raise ParameterError("targets is a list of what to explain, each in a column, and replaces target")
    columns: list[Any] = []
    titles, scales = [], []
    asked = [{}] if targets is None else [{"target": one} for one in targets]
    pairs = [(opened, aimed) for opened in models for aimed in asked]
    with shown("comparing"):
        for place, (opened, aimed) in enumerate(pairs):
            with progress_of_part(place, len(pairs)):
                found = explain_with_each(declarations, opened, image, {**shared, **aimed})
            for number, column in enumerate(found):
                columns.append(column)
                titles.append(_column_title(column[0], opened, declarations, models, targets))
                scales.append(number)
    return Comparison(rows=tuple(zip(*columns, strict=True)), titles=tuple(titles), scales=tuple(scales))


def _to_compare(lenses: str | Sequence[str] | None) -> list[LensSpec]:
    names = DEFAULT_COMPARISON if lenses is None else [lenses] if isinstance(lenses, str) else lenses
    declarations = [find(name) for name in names]
    if not declarations:
        raise UnknownName("there is nothing to compare: name at least one lens")
    odd = [d.command for d in declarations if d.returns != "Attribution"]
    if odd:
        raise UnknownName(f"compare puts attributions side by side, and {odd[0]} gives none")
    return declarations


def _column_title(value: Any, model: Any, declarations: Any, models: Any, targets: Any) -> str:
    """What sets a column apart: its lens, its target, its model, those of them that vary."""
    parts = [value.record.title] if len(declarations) > 1 or (len(models) == 1 and targets is None) else []
    if targets is not None:
        index = value.target_index
        parts.append(value.target if index is None or value.target == f"class {index}" else f"{value.target} ({index})")
    if len(models) > 1:
        name = str(value.record.model.get("name", ""))
        named = [str(getattr(one, "name", type(one).__name__)) for one in models]
        parts.append(
            f"{name} #{next(i for i, m in enumerate(models) if m is model) + 1}" if named.count(name) > 1 else name
        )
    return " · ".join(parts)


QUESTIONS = {
    "any": "anything",
    "class": "why this class and not another",
    "regions": "which regions",
    "pixels": "which pixels",
    "shares": "how much each part added to the score",
    "black-box": "what matters, without looking inside",
}
"""What people want to know, in the words of ``recommend``."""


def recommend(model: Any, image: Any, question: str = "any") -> Recommendation:
    """Say which lenses fit a network and a question, the cheapest of the most telling first, and why others do not.

    Args:
        model: the network; it is tried out with some thirty passes.
        image: an image it takes.
        question: ``any``, ``class`` (why this class and not another), ``regions``, ``pixels``, ``shares`` (how much
            each part added) or ``black-box``.

    Returns:
        A `Recommendation`: every lens with a reason; ``best`` names those that fit.

    Raises:
        ParameterError: no such question.

    Example:
        >>> import convscope as cs
        >>> cs.recommend(cs.load("bundled:digits"), "sample:digits/3", "shares").best[:2]
        ['deep-lift', 'deep-shap']
    """
    from convscope.engine.network.model import as_model
    from convscope.runtime.applicability import find_applicability

    if question not in QUESTIONS:
        near = did_you_mean(question, QUESTIONS) if isinstance(question, str) else ""
        raise ParameterError(f"question must be {', '.join(list(QUESTIONS)[:-1])} or black-box, got {question!r}{near}")
    opened = as_model(model)
    maps = [spec for spec in lenses() if spec.returns == "Attribution"]
    fit = find_applicability(opened, opened.prepare(image), maps)
    blind = {spec.command for spec in maps if "contrasting" not in spec.claims}
    advice = [_advice(spec, question, fit) for spec in maps]
    order = sorted(advice, key=lambda a: (not a.fits, a.lens in blind, a.passes, a.lens))
    return Recommendation(question=QUESTIONS[question], lenses=tuple(order))


def _advice(spec: LensSpec, question: str, fit: Any) -> Advice:
    """Whether one lens fits, and the reason."""
    passes = next((int(p.default) for n, p in spec.parameters.items() if n in ("samples", "steps") and p.default), 1)
    objection = fit.objection(spec) or _off_the_point(spec, question)
    why = objection or _merit(spec, fit)
    return Advice(lens=spec.command, title=spec.title, asks=spec.asks, fits=not objection, why=why, passes=passes)


def _off_the_point(spec: LensSpec, question: str) -> str:
    """Why a lens does not answer a question."""
    if question == "class" and "contrasting" not in spec.claims:
        blind = spec.fails.get("class-sensitive") or spec.fails.get("class contrast")
        return blind or "its map is much the same for every class"
    if question == "shares" and "complete" not in spec.claims:
        return f"does not add up to the score: {spec.fails.get('completeness', 'it makes no such claim')}"
    if question == "pixels" and spec.takes_layer:
        return "its map is as coarse as the layer"
    if question == "regions" and spec.family in ("gradient", "backward") and not spec.takes_layer:
        return "points at pixels and edges rather than at regions"
    if question == "black-box" and (spec.family != "perturbation" or spec.takes_layer):
        return "looks inside the network"
    return ""


def _merit(spec: LensSpec, fit: Any) -> str:
    """What speaks for a lens here."""
    said = []
    if spec.takes_layer and fit.layer:
        said.append(f"looks at {fit.layer}")
    if fit.attention and spec.name == "attn_lrp":
        said.append("made for attention, which this network has")
    if "complete" in spec.claims:
        said.append("adds up to the score")
    if "contrasting" not in spec.claims:
        said.append("hardly depends on the class")
    if fit.random:
        said.append(f"will vary: {fit.random}")
    return ", ".join(said) or spec.asks


def _outline(name: str, module: str) -> Outline:
    path = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            declared = next(d for d in node.decorator_list if isinstance(d, ast.Call))
            said = {k.arg: ast.literal_eval(k.value) for k in declared.keywords if k.arg in ("family", "title", "asks")}
            return Outline(name=name, module=module, **said)
    raise LookupError(f"{path} declares no lens of its own name")
