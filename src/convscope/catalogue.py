"""All declarations, and the few calls that need them: open a model, list lenses, compare them, recommend some."""

import functools
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope._extensions import import_module
from convscope._names import lens_modules
from convscope.errors import LoadError, ParameterError, UnknownName, did_you_mean
from convscope.spec import FAMILIES, LENSES, LOADERS, Lenses, LensSpec, lens_from_json
from convscope.spec.tasks import Task
from convscope.values import Advice, Comparison, JointAttribution, Recommendation

if TYPE_CHECKING:
    from convscope.engine.network.model import Model
    from convscope.runtime.applicability import Applicability

_COMPARED = ("grad-cam", "layer-cam", "saliency", "integrated-gradients")
"""Lenses of different families, of which those that suit a task are compared by default."""


@functools.cache
def declared_lenses() -> tuple[LensSpec, ...]:
    """The declarations of all lenses by family and name, for lists and help texts: no lens is imported.

    They are read from the file ``declarations.json`` of the package that holds the lens; `make generate` writes that of
    this package. A lens that is not in it is imported.
    """
    packages = dict.fromkeys(module.partition(".")[0] for module in lens_modules().values())
    known = {name: plain for package in packages for name, plain in _declared_in(package).items()}
    declarations = [lens_from_json(known[name]) if name in known else find(name) for name in lens_modules()]
    order = list(FAMILIES)
    return tuple(sorted(declarations, key=lambda spec: (order.index(spec.family), spec.name)))


def _declared_in(package: str) -> dict[str, Any]:
    file = files(package).joinpath("declarations.json")
    try:
        declarations: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise LoadError(f"the declarations.json of {package} is no JSON ({error}): write it again") from error
    return declarations


def declarations_of(package: str = "convscope") -> str:
    """The text of the file ``declarations.json`` of a package: its lenses as plain data, one per line."""
    LENSES.fill()  # not `lenses`, which would read the file that is being written
    own = [spec for spec in LENSES.values() if spec.function.__module__.partition(".")[0] == package]
    ordered = sorted(own, key=lambda spec: spec.name)
    lines = [f"{json.dumps(spec.name)}: {json.dumps(spec.as_json(), ensure_ascii=False)}" for spec in ordered]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def declared_lens(name: str) -> LensSpec:
    """The declaration of the lens of that name, with dashes or underscores, without importing it."""
    identifier = _identifier(name)
    return next(spec for spec in declared_lenses() if spec.name == identifier)


def default_comparison(task: Task | None) -> tuple[str, ...]:
    """The lenses that are compared by default, for a task; None where it is unknown.

    Where a target is one of several places, as a box is, those are left out that declare that their map may lie on
    another place.

    Example:
        >>> from convscope.spec.tasks import TASKS
        >>> default_comparison(TASKS.find("classification"))
        ('grad-cam', 'layer-cam', 'saliency', 'integrated-gradients')
        >>> default_comparison(TASKS.find("detection"))
        ('layer-cam', 'saliency', 'integrated-gradients')
    """
    return tuple(name for name in _COMPARED if not declared_lens(name).weakness_for(task))


def lenses() -> Lenses:
    """The declarations of all lenses, by family and name: a list, which a prompt and a notebook show as a table.

    Example:
        >>> import convscope as cs
        >>> [spec.command for spec in cs.lenses()][:1]
        ['predict']
    """
    LENSES.fill()
    return Lenses(LENSES[spec.name] for spec in declared_lenses())


def find(name: str) -> LensSpec:
    """The declaration of the lens of that name, with dashes or underscores, without importing the others."""
    identifier = _identifier(name)
    module = import_module(lens_modules()[identifier])
    if identifier not in LENSES:
        raise LoadError(f"{module.__name__} declares no lens {identifier!r}: name its entry point as the function")
    return LENSES[identifier]


def _identifier(name: str) -> str:
    """The name of a lens as Python writes it.

    Raises:
        UnknownName: there is no such lens; the message suggests one.
    """
    if not isinstance(name, str):
        raise UnknownName(f"no lens {name!r}: a lens is named by a text such as 'grad-cam'")
    modules, identifier = lens_modules(), name.replace("-", "_")
    if identifier not in modules:
        near = did_you_mean(name, [module.replace("_", "-") for module in modules])
        raise UnknownName(f"no lens {name!r}{near} ('convscope lenses' lists all {len(modules)})")
    return identifier


def call(name: str, /, *args: Any, **named: Any) -> Any:
    """Call a lens by name."""
    declaration = find(name)
    return getattr(import_module(declaration.function.__module__), declaration.name)(*args, **named)


def load(
    address: str | Path,
    weights: str | Path | None = None,
    *,
    labels: Any = None,
    size: int | tuple[int, int] | None = None,
    resize: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    task: str | None = None,
    units: str | Sequence[str] | None = None,
    device: str | None = None,
    trust: bool = False,
) -> "Model":
    """Open a model by its address.

    Args:
        address: ``torchvision:resnet50``, ``timm:convnext_tiny``, ``hf:microsoft/resnet-50`` or ``hf:./folder``,
            ``bundled:shapes``, ``net.py:make``; add
            ``?weights=none`` for random weights, ``?weights=FILE`` for those of a file, ``?output=PART`` for a part of
            a tuple or dict output, or for what the output is: ``?output=probabilities`` (see `Model`),
            ``?layout=LAYER:N,T,C`` for the layout of a layer's output where it cannot be determined,
            ``?spacing=5,1,1`` for the size of a volume's voxels, ``?rate=16000`` for a signal's samples per second, and
            ``?task=segmentation``, ``?units=mm``,
            ``?labels=FILE``, ``?size=224``, ``?resize=256``, ``?mean=0.5,0.5,0.5``, ``?std=…`` for the arguments of
            these names; ``&`` joins several.
        weights: a file to load into it: .safetensors, or a .pt / .pth state dict.
        labels: the names of the classes, as `Model` takes them, or a file with them: a name a line, or JSON.
        size: (height, width) of prepared images, or one number for a square, where the weights want another size than
            the architecture's own.
        resize: the length to which the shorter side is scaled before the center crop; ``size`` by default.
        mean, std: per channel, of pixels scaled to 0 … 1.
        task: what the network does, and ``units`` of the numbers that it gives, as `Model` takes them.
        device: where to put it, such as ``cuda:1``; the CPU by default.
        trust: allow a weight file that runs code when it is opened. Only for files of your own.

    Returns:
        A `Model` with its preprocessing, its labels and its source. For weights of your own, images are preprocessed as
        for the architecture's published weights, and a caveat says so until the preprocessing is given here.

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
    from convscope.loaders.address import open_address

    LOADERS.fill()
    arguments = {"labels": labels, "size": size, "resize": resize, "mean": mean, "std": std}
    arguments |= {"task": task, "units": units}
    given = {name: value for name, value in arguments.items() if value is not None}
    model = open_address(str(address), weights, given, trust=trust)
    return _moved(model, device) if device else model


def _moved(model: "Model", device: str) -> "Model":
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
    """Compare lenses on the same images, or one lens for several targets or several models, side by side.

    Args:
        model: the network; a list of networks gives each its columns.
        image: one image or several; each becomes a row.
        lenses: names of lenses, each a column; by default some of different families, for a detector without those
            whose map may lie on another object than that of the box.
        targets: several targets, each with its columns: ``["cat", "dog", "cat - dog"]``.
        shared: ``target`` and ``layer`` for those that take them, ``smooth``, and parameters that several lenses have.

    Returns:
        A `Comparison` with the attributions, the similarity of the columns in rank and in structure, and a map per
        image of how many columns mark each position. Columns of the same lens share one scale. Lenses that need the
        same gradients share one forward and one backward pass; several targets share the forward pass.

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
    from convscope.runtime.multi_run import explain_with_each, passes_for_targets

    models = list(model) if isinstance(model, (list, tuple)) else [model]
    if not models:
        raise UnknownName("there is nothing to compare: the list of models is empty")
    declarations = _declarations(_default_for(models, image) if lenses is None else lenses)
    if targets is not None and ("target" in shared or isinstance(targets, str) or not list(targets)):
        raise ParameterError("targets is a list of what to explain, each in a column, and replaces target")
    columns: list[Any] = []
    titles, scales = [], []
    target_options = [{}] if targets is None else [{"target": target} for target in targets]
    parts = len(models) * len(target_options)
    with shown("comparing"):
        for network in models:
            with passes_for_targets(network, image, len(target_options)) as (opened, prepared):
                for options in target_options:
                    with progress_of_part(len(columns) // len(declarations), parts):
                        network_columns = explain_with_each(declarations, opened, prepared, {**shared, **options})
                    for number, column in enumerate(network_columns):
                        _refuse_several_inputs(column[0])
                        columns.append(column)
                        titles.append(_column_title(column[0], network, declarations, models, targets))
                        scales.append(number)
    return Comparison(rows=tuple(zip(*columns, strict=True)), titles=tuple(titles), scales=tuple(scales))


def _refuse_several_inputs(value: Any) -> None:
    if isinstance(value, JointAttribution):
        named = ", ".join(value)
        raise ParameterError(f"compare puts maps of one input side by side: choose it with explain=…, one of {named}")


def _default_for(models: Sequence[Any], image: Any) -> tuple[str, ...]:
    """The lenses that suit the tasks of all models."""
    from convscope.runtime.several_inputs import task_on

    choices = [default_comparison(task_on(model, image)) for model in models]
    return min(choices, key=len)


def _declarations(lenses: str | Sequence[str]) -> list[LensSpec]:
    declarations = [find(name) for name in ([lenses] if isinstance(lenses, str) else lenses)]
    if not declarations:
        raise UnknownName("there is nothing to compare: name at least one lens")
    without_map = [d.command for d in declarations if not d.gives_map]
    if without_map:
        raise UnknownName(f"compare puts attributions side by side, and {without_map[0]} gives none")
    return declarations


def _column_title(value: Any, model: Any, declarations: Any, models: Any, targets: Any) -> str:
    """What distinguishes a column: its lens, its target or its model, whichever of them vary."""
    parts = [value.record.title] if len(declarations) > 1 or (len(models) == 1 and targets is None) else []
    if targets is not None:
        index = value.target_index
        parts.append(value.target if index is None or value.target == f"class {index}" else f"{value.target} ({index})")
    if len(models) > 1:
        parts.append(_network_title(next(i for i, m in enumerate(models) if m is model), models))
    return " · ".join(parts)


def _network_title(index: int, models: Sequence[Any]) -> str:
    """The name of a network; where others have the same, its file or address, or where these are alike, its number."""
    names = [str(getattr(network, "name", type(network).__name__)) for network in models]
    files = [str(getattr(network, "source", "")).rpartition("/")[2] for network in models]
    if names.count(names[index]) == 1:
        return names[index]
    is_opened = files[index] and not files[index].startswith("python:")
    return files[index] if is_opened and files.count(files[index]) == 1 else f"{names[index]} #{index + 1}"


QUESTIONS = {
    "any": "anything",
    "class": "why this class and not another",
    "regions": "which regions",
    "pixels": "which pixels",
    "shares": "how much each part added to the score",
    "black-box": "what matters, without looking inside",
}
"""The questions that ``recommend`` answers, by the word that stands for each."""


def recommend(model: Any, image: Any, question: str = "any") -> Recommendation:
    """List the lenses that suit a network and a question, the cheapest informative ones first, and why others do not.

    Args:
        model: the network; about thirty passes are run to find out what it supports.
        image: an input of the network.
        question: ``any``, ``class`` (why this class and not another), ``regions``, ``pixels``, ``shares`` (how much
            each part added) or ``black-box``.

    Returns:
        A `Recommendation`: every lens with a reason; ``best`` names those that suit.

    Raises:
        ParameterError: no such question.

    Example:
        >>> import convscope as cs
        >>> cs.recommend(cs.load("bundled:digits"), "sample:digits/3", "shares").best[:2]
        ['deep-lift', 'deep-shap']
    """
    from convscope.engine.network.model import as_model
    from convscope.runtime.applicability import find_applicability
    from convscope.runtime.several_inputs import bound_to_first

    if question not in QUESTIONS:
        near = did_you_mean(question, QUESTIONS) if isinstance(question, str) else ""
        raise ParameterError(f"question must be {', '.join(list(QUESTIONS)[:-1])} or black-box, got {question!r}{near}")
    opened = as_model(model)
    maps = [spec for spec in lenses() if spec.gives_map]
    applicability = find_applicability(*bound_to_first(opened, image), maps)
    class_insensitive = {spec.command for spec in maps if "contrasting" not in spec.claims}
    off_place = {spec.command: _off_place(spec, opened.task) for spec in maps}
    advice = [_advice(spec, question, applicability, opened.task) for spec in maps]
    order = sorted(advice, key=lambda a: (not a.fits, off_place[a.lens], a.lens in class_insensitive, a.passes, a.lens))
    return Recommendation(question=QUESTIONS[question], lenses=tuple(order))


def _off_place(spec: LensSpec, task: Task | None) -> int:
    """How little can be relied on that the map of one of several objects lies on it: 0 where the lens claims it."""
    if task is None or not task.about_a_place:
        return 0
    return 2 if spec.weakness_for(task) else int("local" not in spec.claims)


def _advice(spec: LensSpec, question: str, applicability: "Applicability", task: Task | None) -> Advice:
    """Whether one lens suits, and the reason."""
    passes = next((int(p.default) for n, p in spec.parameters.items() if n in ("samples", "steps") and p.default), 1)
    objection = applicability.refusal(spec) or _unsuitable(spec, question)
    why = objection or _advantages(spec, applicability, task)
    return Advice(lens=spec.command, title=spec.title, asks=spec.asks, fits=not objection, why=why, passes=passes)


def _unsuitable(spec: LensSpec, question: str) -> str:
    """Why a lens does not answer a question."""
    if question == "class" and "contrasting" not in spec.claims:
        reason = spec.fails.get("class-sensitive") or spec.fails.get("class contrast")
        return reason or "its map is much the same for every class"
    if question == "shares" and "complete" not in spec.claims:
        return f"does not add up to the score: {spec.fails.get('completeness', 'it makes no such claim')}"
    if question == "pixels" and (spec.takes_layer or "attention" in spec.needs):
        return f"its map is as coarse as the {'layer' if spec.takes_layer else 'tokens'}"
    shows_regions = spec.takes_layer or bool(spec.needs & {"scores", "attention"}) or not spec.needs
    if question == "regions" and not shows_regions:
        return "points at pixels and edges rather than at regions"
    if question == "black-box" and (spec.needs != {"scores"} or spec.takes_layer):
        return "looks inside the network"
    return ""


def _advantages(spec: LensSpec, applicability: "Applicability", task: Task | None) -> str:
    """The advantages of a lens on this network, and what limits it."""
    advantages = []
    if task is not None and task.about_a_place and "local" in spec.claims:
        advantages.append("lies on the one object that is explained")
    if weakness := spec.weakness_for(task):
        advantages.append(f"may miss the object: {weakness}")
    if spec.takes_layer and applicability.layer:
        advantages.append(f"looks at {applicability.layer}")
    if applicability.attention and "attention" in spec.made_for:
        advantages.append("made for attention, which this network has")
    if "complete" in spec.claims:
        advantages.append("adds up to the score")
    if "contrasting" not in spec.claims:
        advantages.append("hardly depends on the class")
    if applicability.random:
        advantages.append(f"will vary: {applicability.random}")
    return ", ".join(advantages) or spec.asks
