"""What a shell may offer for the value of an option while somebody types: models, layers, lenses, choices.

Nothing here imports a library for its names: architectures are read from the text of torchvision and timm, as lenses
are from the text of their declarations. Only the layers of a model need it opened, with random weights; a file of
one's own is read and not run for a completion.
"""

import ast
import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import typer

_REGISTERED = re.compile(r"^@register_model.*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_WORD_BREAKS = ":="
"""Characters at which bash begins a new word, so that it replaces only what stands behind the last of them."""

_REQUEST = "_CONVSCOPE_COMPLETE"


def starting(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """The choices that begin with what was typed."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def addresses(incomplete: str) -> list[str]:
    """Addresses of models: kinds first, then the names of a kind."""
    kinds: dict[str, Callable[[], list[str]]] = {
        "bundled:": lambda: ["digits", "shapes"],
        "timm:": lambda: _registered("timm.models"),
        "torchvision:": lambda: _registered("torchvision.models"),
    }
    with suppress(OSError):
        folder = Path(incomplete.partition(":")[0]).parent
        kinds |= {f"{path}:": lambda path=path: _defined(path) for path in sorted(folder.glob("*.py"))}  # type: ignore[misc]
    fitting = [kind for kind in kinds if kind.startswith(incomplete) or incomplete.startswith(kind)]
    if len(fitting) != 1:  # of one alone bash would take the kind for the whole, and put a space behind it
        return fitting
    return [fitting[0] + name for name in kinds[fitting[0]]() if (fitting[0] + name).startswith(incomplete)]


def layers_of_model(ctx: typer.Context, incomplete: str) -> list[str]:
    """Addresses of layers, where the model was named before."""
    address = ctx.params.get("model")
    if not isinstance(address, str) or ".py:" in address:
        return []
    from convscope.cli.opening import open_without_weights
    from convscope.errors import ConvScopeError

    with suppress(ConvScopeError), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        return [layer for layer in open_without_weights(address).layers() if layer.startswith(incomplete)]
    return []


def lens_names(incomplete: str) -> list[str]:
    """Names of lenses with commas between them: the last is completed."""
    from convscope.catalogue import declared_lenses

    before, comma, last = incomplete.rpartition(",")
    named = before.split(",")
    names = [outline.command for outline in declared_lenses()]
    return [before + comma + name for name in names if name.startswith(last) and name not in named]


@contextmanager
def completing_in_bash() -> Iterator[None]:
    """Put together what bash takes apart at colons, and give it what it replaces: only what stands behind the last."""
    if os.environ.get(_REQUEST) != "complete_bash":
        yield
        return
    words, current = _joined(os.environ.get("COMP_WORDS", "").split("\n"), int(os.environ.get("COMP_CWORD", "0")))
    os.environ |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(current)}
    incomplete = words[current] if current < len(words) else ""
    value = incomplete.partition("=")[2] if incomplete.startswith("--") else incomplete
    known = value[: max(map(value.rfind, _WORD_BREAKS)) + 1]
    offered = StringIO()
    try:
        with redirect_stdout(offered):
            yield
    finally:
        for line in offered.getvalue().splitlines():
            print(line.removeprefix(known))  # noqa: T201


def _joined(words: list[str], current: int) -> tuple[list[str], int]:
    """The words with those put together that belong together, and the number of the one that is being typed."""
    joined: list[str] = []
    place = 0
    for number, word in enumerate(words):
        behind = bool(joined) and (word[:1] in _WORD_BREAKS or joined[-1][-1:] in _WORD_BREAKS) and word != ""
        if behind and number > 1:
            joined[-1] += word
        else:
            joined.append(word)
        if number <= current:
            place = len(joined) - 1
    return joined, place if current < len(words) else current


def _registered(package: str) -> list[str]:
    """The architectures that a library registers, read from its text."""
    with suppress(ImportError):
        spec = importlib.util.find_spec(package.partition(".")[0])
        folder = Path(spec.origin).parent / package.partition(".")[2] if spec and spec.origin else None
        if folder is not None:
            texts = (path.read_text("utf-8") for path in sorted(folder.glob("*.py")))
            return sorted(name for text in texts for name in _REGISTERED.findall(text))
    return []


def _defined(path: Path) -> list[str]:
    """What a file of one's own defines."""
    with suppress(OSError, SyntaxError, ValueError):
        body = ast.parse(path.read_text("utf-8")).body
        names = [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        return [name for name in names if not name.startswith("_")]
    return []
