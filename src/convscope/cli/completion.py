"""Shell completion for the values of options: models, layers, lenses, choices.

No library is imported for its names: the architectures of torchvision and timm are read from their source files, and
lenses from the source of their declarations. Only the layers of a model require opening it, with random weights; a
user's own file is parsed but never run for a completion.
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
"""Characters at which bash splits words; it replaces only the text after the last one."""

_REQUEST = "_CONVSCOPE_COMPLETE"


def complete_choices(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """A completion function for a fixed set of choices."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def complete_model_addresses(incomplete: str) -> list[str]:
    """Addresses of models: the prefixes first, then the names for a prefix."""
    prefixes: dict[str, Callable[[], list[str]]] = {
        "bundled:": _bundled,
        "timm:": lambda: _registered("timm.models"),
        "torchvision:": lambda: _registered("torchvision.models"),
    }
    with suppress(OSError):
        folder = Path(incomplete.partition(":")[0]).parent
        prefixes |= {f"{path}:": lambda path=path: _definitions(path) for path in sorted(folder.glob("*.py"))}  # type: ignore[misc]
    matching = [prefix for prefix in prefixes if prefix.startswith(incomplete) or incomplete.startswith(prefix)]
    if len(matching) != 1:  # a single prefix is expanded, or bash would append a space to it
        return matching
    return [matching[0] + name for name in prefixes[matching[0]]() if (matching[0] + name).startswith(incomplete)]


def _bundled() -> list[str]:
    from convscope.samples.bundled import NAMES

    return NAMES


def complete_layers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Addresses of layers, if the model precedes them on the command line."""
    address = ctx.params.get("model")
    if not isinstance(address, str) or ".py:" in address:
        return []
    from convscope.cli.model_opening import open_without_weights
    from convscope.errors import ConvScopeError

    with suppress(ConvScopeError), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        return [layer for layer in open_without_weights(address).layers() if layer.startswith(incomplete)]
    return []


def complete_lens_names(incomplete: str) -> list[str]:
    """Names of lenses separated by commas, of which the last is completed."""
    from convscope.catalogue import declared_lenses

    before, comma, last = incomplete.rpartition(",")
    earlier = before.split(",")
    names = [outline.command for outline in declared_lenses()]
    return [before + comma + name for name in names if name.startswith(last) and name not in earlier]


@contextmanager
def adapt_bash_completion() -> Iterator[None]:
    """Join the words that bash splits at colons, and return only the text after the last one, which it replaces."""
    if os.environ.get(_REQUEST) != "complete_bash":
        yield
        return
    words, current = _join_words(os.environ.get("COMP_WORDS", "").split("\n"), int(os.environ.get("COMP_CWORD", "0")))
    os.environ |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(current)}
    incomplete = words[current] if current < len(words) else ""
    value = incomplete.partition("=")[2] if incomplete.startswith("--") else incomplete
    prefix = value[: max(map(value.rfind, _WORD_BREAKS)) + 1]
    output = StringIO()
    try:
        with redirect_stdout(output):
            yield
    finally:
        for line in output.getvalue().splitlines():
            print(line.removeprefix(prefix))  # noqa: T201


def _join_words(words: list[str], current: int) -> tuple[list[str], int]:
    """The words with split ones joined, and the index of the word that is being typed."""
    joined: list[str] = []
    current_joined = 0
    for index, word in enumerate(words):
        continues = bool(joined) and (word[:1] in _WORD_BREAKS or joined[-1][-1:] in _WORD_BREAKS) and word != ""
        if continues and index > 1:
            joined[-1] += word
        else:
            joined.append(word)
        if index <= current:
            current_joined = len(joined) - 1
    return joined, current_joined if current < len(words) else current


def _registered(package: str) -> list[str]:
    """The architectures that a library registers, read from its source files."""
    with suppress(ImportError):
        spec = importlib.util.find_spec(package.partition(".")[0])
        folder = Path(spec.origin).parent / package.partition(".")[2] if spec and spec.origin else None
        if folder is not None:
            sources = (path.read_text("utf-8") for path in sorted(folder.glob("*.py")))
            return sorted(name for source in sources for name in _REGISTERED.findall(source))
    return []


def _definitions(path: Path) -> list[str]:
    """The public functions and classes that a file defines."""
    with suppress(OSError, SyntaxError, ValueError):
        body = ast.parse(path.read_text("utf-8")).body
        names = [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        return [name for name in names if not name.startswith("_")]
    return []
