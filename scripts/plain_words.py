"""Check that names and texts are in plain English: no word of the list in `[tool.plain-words]` of pyproject.toml.

python scripts/plain_words.py            print every place, and fail where there is one
python scripts/plain_words.py --count    print how often each word occurs
"""

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Finding(NamedTuple):
    """One word at one place."""

    path: Path
    line: int
    word: str
    kind: str


def settings() -> tuple[set[str], list[str], list[Path]]:
    """The names and phrases that are not used, and the files that are checked."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["plain-words"]
    excluded = [ROOT / path for path in table.get("exclude", ())]
    files = (path for folder in table["folders"] for path in sorted((ROOT / folder).rglob("*.py")))
    checked = [path for path in files if not any(path.is_relative_to(part) for part in excluded)]
    return set(table["names"]), list(table["phrases"]), checked


def findings() -> Iterator[Finding]:
    """Every use of a word of the list."""
    names, phrases, files = settings()
    pattern = re.compile("|".join(rf"\b{re.escape(phrase)}\b" for phrase in phrases), re.IGNORECASE)
    for path in files:
        text = path.read_text("utf-8")
        tree = ast.parse(text)
        yield from (Finding(path, line, name, "name") for name, line in _names(tree) if name.strip("_") in names)
        yield from _phrases(path, text, tree, pattern)


def _names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that the file gives to something: variables, parameters, functions, classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno


def _phrases(path: Path, text: str, tree: ast.Module, pattern: re.Pattern[str]) -> Iterator[Finding]:
    """Phrases in docstrings and comments."""
    for node in ast.walk(tree):
        constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if constant and isinstance(node.value.value, str):  # type: ignore[attr-defined]
            for occurrence in pattern.finditer(node.value.value):  # type: ignore[attr-defined]
                yield Finding(path, node.lineno, occurrence[0].lower(), "docstring")  # type: ignore[attr-defined]
    for number, line in enumerate(text.splitlines(), 1):
        comment = re.search(r"(?:^|\s)# (.*)$", line)
        if comment and (match := pattern.search(comment[1])):
            yield Finding(path, number, match[0].lower(), "comment")


def main() -> None:
    """Print what was found."""
    words = list(findings())
    if "--count" in sys.argv:
        for word, count in Counter(finding.word for finding in words).most_common():
            print(f"{count:5} {word}")
        return
    for finding in words:
        print(f"{finding.path.relative_to(ROOT)}:{finding.line}: {finding.kind} '{finding.word}': use a plain word")
    if words:
        sys.exit(f"{len(words)} words that are not plain; scripts/plain_words.py says what is checked")


if __name__ == "__main__":
    main()
