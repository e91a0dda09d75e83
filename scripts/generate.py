"""Generate files from the declarations of the lenses: type stub, README table, docs/lenses.md,
docs/errors.md, declarations.json.

python scripts/generate.py           write the files
python scripts/generate.py --check   list files that are out of date, and fail if there are any
"""

import functools
import inspect
import re
import sys
from pathlib import Path

import torch
from bibliography import CITED, bibliography, line
from error_page import error_page

import convscope as cs
from convscope._names import PUBLIC, own_lens_modules
from convscope.catalogue import declarations_of
from convscope.spec import FAMILIES, INPUT_KINDS, SMOOTH_OF, LensSpec, Parameter

ROOT = Path(__file__).parents[1]
LENSES = [spec for spec in cs.lenses() if spec.name in own_lens_modules()]
"""The lenses of this package, without those that installed packages add."""
SCENE, OTHER_SCENE = "sample:shapes/7", "sample:shapes/12"
STUB_HEAD = '''"""Written by scripts/generate.py from the declarations of the lenses; `make generate` renews it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from PIL.Image import Image
from torch import Tensor
from torch.nn import Module
from torch.utils.data import DataLoader, Dataset

from convscope.engine.layers.addresses import LayerAddress
from convscope.engine.targets.target import TargetLike
from convscope.runtime.value_stream import ValueStream
'''
OWN_TYPES = '''
__version__: str

OneImage = str | Path | Image | np.ndarray
"""A path or sample: address, a Pillow image, or an array (height, width[, channels])."""
DataSet = Dataset[Any] | DataLoader[Any] | Iterator[Any]
"""Many inputs as a stream, with or without classes."""
Samples = Mapping[str, Any] | Sequence[Mapping[str, Any]] | Sequence[tuple[Any, ...]] | Sequence[int]
"""Several inputs by name, a list of such samples, or the numbers of tokens."""
'''


def stub() -> str:
    """The stub: public names imported from their modules, and the lenses with their public signatures."""
    imports = [
        f"from {module} import {name} as {name}" for name, module in sorted(PUBLIC.items(), key=lambda item: item[1])
    ]
    lenses = [_signatures(spec) for spec in LENSES]
    return _formatted(STUB_HEAD + "\n".join(imports) + "\n" + OWN_TYPES + "\n\n" + "\n".join(lenses))


STUB_TYPES = {"list": "list[Any]", "tuple": "tuple[Any, ...]", "ndarray": "np.ndarray"}
"""Names of types in the stub."""

EACH_IMAGE = (
    ("OneImage", "{}"),
    ("list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor]", "list[{}]"),
    ("Tensor", "{0} | list[{0}]"),
    ("DataSet", "ValueStream[{}]"),
)
"""The input and return types of a lens that explains each image: one image, several, a prepared tensor, a data set.
(A folder is given as a string, like a file, and returns a stream.)"""


def _signatures(spec: LensSpec) -> str:
    """The public signature; overloads where the return type depends on the type of the image."""
    summary = (spec.function.__doc__ or "").partition("\n")[0]
    if not spec.each_image:
        return f'def {spec.name}({_arguments(spec)}) -> {spec.returns.__name__}:\n    """{summary}"""\n'
    cases = [(_arguments(spec, image=image), returned.format(spec.returns.__name__)) for image, returned in EACH_IMAGE]
    cases.append((_arguments(spec, image="Samples", explain="str | Sequence[str] | None"), "Any"))
    if spec.takes_target:  # a list for each image, or for several images a list of lists
        cases.append((_arguments(spec, image="Any", targets="Sequence[TargetLike]"), "list[Any]"))
    return "\n".join(
        f'@overload\ndef {spec.name}({arguments}) -> {returned}:\n    """{summary}"""\n'
        for arguments, returned in cases
    )


def _arguments(spec: LensSpec, targets: str = "", explain: str = "", **types: str) -> str:
    """The parameter list of the stub, with keyword-only parameters after a star; ``targets`` is put for ``target``."""
    parameters = {name: _input(spec, name, types.get(name, INPUT_KINDS[name].python_type)) for name in spec.inputs}
    if targets:
        parameters["target"] = f"targets: {targets}"
    parameters |= {p.name: f"{p.name}: {_type(p)} = {p.default!r}" for p in spec.parameters.values()}
    parameters |= _common_options(spec) | ({"explain": f"explain: {explain} = None"} if explain else {})
    positional = [parameters.pop(name) for name in spec.positional]
    return ", ".join([*positional, *(["*"] if parameters else []), *parameters.values()])


def _common_options(spec: LensSpec) -> dict[str, str]:
    """The options that a lens has without declaring them."""
    options = {}
    if spec.can_average:
        statistics = ", ".join(map(repr, SMOOTH_OF.about.choices))
        options["smooth"] = "smooth: int | Smooth | None = None"
        options["smooth_of"] = f"smooth_of: Literal[{statistics}] | None = None"
    if "differentiable" in spec.claims:
        options["differentiable"] = "differentiable: bool = False"
    return options


def _input(spec: LensSpec, name: str, kind: str) -> str:
    if name in spec.required:
        return f"{name}: {kind}"
    default = _default(spec, name)
    return f"{name}: {kind}{' | None' if default == 'None' else ''} = {default}"


def _default(spec: LensSpec, name: str) -> str:
    default = inspect.signature(spec.function).parameters[name].default
    if default is None:
        return "None"
    return repr(default) if isinstance(default, str) and name == "target" else "..."


def _type(parameter: Parameter) -> str:
    kind = (
        f"Literal[{', '.join(repr(c) for c in parameter.about.choices)}]"
        if parameter.about.choices
        else parameter.kind.__name__
    )
    return " | ".join([kind, *(STUB_TYPES.get(t.__name__, t.__name__) for t in parameter.also)])


def readme() -> str:
    """The README with an updated table of lenses."""
    return _replace_between((ROOT / "README.md").read_text("utf-8"), "lenses", table())


@functools.cache
def table() -> str:
    """The table of lenses by family: name, question, cost, known failures."""
    rows = ["| lens | asks | passes | known to fail |", "|---|---|---|---|"]
    for family, title in FAMILIES.items():
        rows.append(f"| **{title}** | | | |")
        for spec in LENSES:
            if spec.family == family:
                fails = "; ".join(f"{property_name}: {why}" for property_name, why in spec.fails.items())
                rows.append(
                    f"| [`{spec.command}`](docs/lenses.md#{spec.command}) | {spec.asks} | {_passes(spec)} | {fails} |"
                )
    return "\n".join(rows)


def _passes(spec: LensSpec) -> str:
    """Forward and backward passes for one bundled image with default parameters, measured."""
    if "attention" in spec.needs:
        scene, network = "sample:pairs/1", _attending_network()
    elif "gates" in spec.needs:
        scene, network = SCENE, cs.load("torchvision:mobilenet_v3_small?weights=none")
    else:
        scene, network = SCENE, _network()
    inputs = {"model": network, "image": scene, "images": [scene], "guide": OTHER_SCENE, "style": OTHER_SCENE}
    cost = getattr(cs, spec.name)(**{n: inputs[n] for n in spec.inputs if n in inputs}).record.cost
    return (
        f"{cost.forwards:,.0f} + {cost.backwards:,.0f}"
        if cost.forwards >= 10
        else f"{cost.forwards:g} + {cost.backwards:g}"
    )


@functools.cache
def _network() -> cs.Model:
    """The bundled network, traced once in advance so that this is not counted for the first lens."""
    model = cs.load("bundled:shapes")
    cs.grad_cam(model, SCENE)
    return model


@functools.cache
def _attending_network() -> cs.Model:
    """The bundled network that attends, recorded once in advance."""
    model = cs.load("bundled:pairs")
    cs.transformer_attribution(model, "sample:pairs/1")
    return model


def lens_pages() -> str:
    """One section per lens: its docstring, its parameters, its claims."""
    parts = ["# The lenses", "", "Written by `make generate` from the declarations.", ""]
    for spec in LENSES:
        parts += [
            f'<a id="{spec.command}"></a>',
            "",
            f"## {spec.title}",
            "",
            f"*{spec.asks}*",
            "",
            f"`cs.{spec.name}` · `convscope {spec.command}`",
            "",
        ]
        parts += [f"**How to read it.** {spec.reads}", ""]
        parts += ["```text", inspect.getdoc(spec.function) or "", "```", ""]
        if spec.parameters:
            parts += ["| parameter | default | values | meaning |", "|---|---|---|---|"]
            parts += [
                f"| `{p.name}` | `{p.default}` | {_values(p)} | {p.about.help} |" for p in spec.parameters.values()
            ]
            parts += [""]
        if spec.claims:
            parts += [f"Held by tests: {', '.join(sorted(spec.claims))}.", ""]
        parts += [f"Known to fail — {property_name}: {why}." for property_name, why in spec.fails.items()]
        parts += [""] if spec.fails else []
        parts += _sources(spec)
    return "\n".join(parts)


def _values(parameter: Parameter) -> str:
    return " ".join(
        part for part in (parameter.about.range(), f"({parameter.about.unit})" if parameter.about.unit else "") if part
    )


def _sources(spec: LensSpec) -> list[str]:
    """References: the source of the lens, and the other works its docstring cites."""
    cited = dict.fromkeys([spec.cite, *CITED.findall(inspect.getdoc(spec.function) or "")])
    first, *others = (line(bibliography()[key]) for key in cited)
    return [f"Source: {first}", ""] + (
        ["Cited besides:", "", *(f"- {other}" for other in others), ""] if others else []
    )


def _replace_between(text: str, name: str, new: str) -> str:
    """``text`` with the part between the markers of that name replaced."""
    return re.sub(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", lambda m: m[1] + new + m[2], text, flags=re.DOTALL)


def _formatted(code: str) -> str:
    import subprocess

    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format"]):
        options = [*command, "--stdin-filename", str(ROOT / "src/convscope/__init__.pyi"), "-"]
        code = subprocess.run([ruff, *options], input=code, capture_output=True, text=True, check=True).stdout
    return code


def main() -> int:
    """Write or check the files."""
    torch.set_num_threads(1)  # more do not speed up small networks, and wait for each other on a busy machine
    files = {
        ROOT / "src/convscope/__init__.pyi": stub,
        ROOT / "docs/lenses.md": lens_pages,
        ROOT / "README.md": readme,
        ROOT / "docs/errors.md": error_page,
        ROOT / "src/convscope/declarations.json": declarations_of,
    }
    texts = {path: make() for path, make in files.items()}
    stale = {path: text for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        if "--check" in sys.argv:
            print(f"{path.relative_to(ROOT)} is out of date: run 'make generate'")
        else:
            path.write_text(text, "utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
