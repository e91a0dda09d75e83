"""Everything that is declared, and the few calls that need all of it: open a model, list lenses, compare them."""

import ast
import functools
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope._names import lens_modules
from convscope.errors import LoadError, UnknownName, did_you_mean
from convscope.spec import FAMILIES, LENSES, LOADERS, LensSpec
from convscope.values import Comparison

if TYPE_CHECKING:
    from convscope.engine.model import Model

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


def lenses() -> list[LensSpec]:
    """The declarations of all lenses, by family and name.

    Example:
        >>> import convscope as cs
        >>> [spec.command for spec in cs.lenses()][:1]
        ['predict']
    """
    fill()
    return [LENSES[outline.name] for outline in outlines()]


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
    address: str | Path, weights: str | Path | None = None, *, device: str | None = None, trust: bool = False
) -> "Model":
    """Open a model by its address.

    Args:
        address: ``torchvision:resnet50``, ``timm:convnext_tiny``, ``bundled:shapes``, ``net.py:make``; add
            ``?weights=none`` for random weights.
        weights: a file to load into it: .safetensors, or a .pt / .pth state dict.
        device: where to put it, such as ``cuda:1``; the CPU by default.
        trust: allow a weight file that runs code when it is opened. Only for files you made yourself.

    Returns:
        A `Model` with its preprocessing, its labels and its source.

    Raises:
        UnknownName: no such loader or architecture; the message suggests one.
        LoadError: a file cannot be read, does not fit, cannot be fetched or would run code.
        MissingExtra: the library behind the loader is not installed.

    Example:
        >>> import convscope as cs
        >>> cs.load("bundled:digits")
        Model(digits, 1×32×32 input, 10 labels)
    """
    fill()
    scheme, name, options = _parsed(str(address))
    if scheme not in LOADERS:
        known = ", ".join(f"{spec.example}" for spec in LOADERS.values())
        raise UnknownName(
            f"cannot open {str(address)!r}: no kind of model {scheme!r}{did_you_mean(scheme, LOADERS)} (try {known})"
        )
    if unknown := set(options) - {"weights"}:
        raise LoadError(
            f"{str(address)!r} has the option {sorted(unknown)[0]!r}; only '?weights=none' or '?weights=NAME' is known"
        )
    if weights is not None and options.get("weights") not in (None, "none"):
        raise LoadError(
            f"{str(address)!r} asks for its own weights and weights={str(weights)!r} for a file's: choose one"
        )
    model: Model = LOADERS[scheme].function(name, chosen=options.get("weights"), weights=weights, trust=trust)
    return _placed(model, device) if device else model


def _placed(model: "Model", device: str) -> "Model":
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise LoadError(
            f"there is no device {device!r} here: {reason} ('convscope doctor' lists what there is)"
        ) from error


def _parsed(address: str) -> tuple[str, str, dict[str, str]]:
    """``scheme:name?key=value`` in its parts; ``net.py:make`` has the scheme ``py``."""
    plain, _, query = address.partition("?")
    options = dict(part.partition("=")[::2] for part in query.split("&") if part)
    path, _, _ = plain.rpartition(":")
    if path.endswith(".py"):
        return "py", plain, options
    if plain.endswith(".py"):
        raise LoadError(f"{plain!r} needs the function that makes the network: {plain}:NAME")
    scheme, colon, name = plain.partition(":")
    if not colon or not name:
        raise UnknownName(f"{address!r} is not the address of a model: write it as torchvision:resnet50 or net.py:make")
    return scheme, name, options


def compare(model: Any, image: Any, lenses: Sequence[str] | None = None, **shared: Any) -> Comparison:
    """Look at one image, or several, through several lenses and put them side by side on one scale.

    Args:
        model: the network.
        image: one image or several; each becomes a row.
        lenses: names of lenses, each a column; a choice of different families by default.
        shared: ``target`` and ``layer`` for those that take them, and parameters that several lenses have.

    Returns:
        A `Comparison`. Lenses that need the same gradients share one forward and one backward.

    Raises:
        UnknownName: no such lens.
        ParameterError: a parameter that none of the lenses has.

    Example:
        >>> import convscope as cs
        >>> c = cs.compare(cs.load("bundled:shapes"), "sample:shapes/7", ["grad-cam", "saliency"])
        >>> [a.method for a in c]
        ['grad-cam', 'saliency']
    """
    from convscope.engine.together import look_through

    names = DEFAULT_COMPARISON if lenses is None else [lenses] if isinstance(lenses, str) else lenses
    declarations = [find(name) for name in names]
    if not declarations:
        raise UnknownName("there is nothing to compare: name at least one lens")
    odd = [d.command for d in declarations if d.returns != "Attribution"]
    if odd:
        raise UnknownName(f"compare puts attributions side by side, and {odd[0]} gives none")
    columns = look_through(declarations, model, image, shared)
    return Comparison(rows=tuple(zip(*columns, strict=True)))


def _outline(name: str, module: str) -> Outline:
    path = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            declared = next(d for d in node.decorator_list if isinstance(d, ast.Call))
            said = {k.arg: ast.literal_eval(k.value) for k in declared.keywords if k.arg in ("family", "title", "asks")}
            return Outline(name=name, module=module, **said)
    raise LookupError(f"{path} declares no lens of its own name")
