"""What the documents promise is run: every snippet, every doctest, every generated page, every link."""

import doctest
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from convscope._names import PUBLIC, lens_modules
from tests.readme_files import prepare, words_of
from tests.warm_processes import run_code, run_command

ROOT = Path(__file__).parents[1]
HOWTO = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/howto/*.md"))
GUIDES = [*HOWTO, *(f"docs/{name}.md" for name in ("attention", "inputs", "tasks", "training"))]
PAGES = ["README.md", "CONTRIBUTING.md", *GUIDES]
PAGES += [f"docs/{name}.md" for name in ("gallery", "architecture", "glossary", "errors", "doctor")]
DOCTESTED = sorted({*lens_modules().values(), *PUBLIC.values()})


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in that language; those of the shell name none."""
    text = (ROOT / page).read_text("utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [code for of, code in fenced if of == language]


def shell_lines(page: str) -> list[str]:
    """The commands that a page shows to type, in blocks and within sentences.

    A command within a sentence without arguments is its name, and one with a word in capitals or … is a pattern.
    """
    in_blocks = [line for block in blocks(page, "") for line in block.splitlines() if line.startswith("convscope ")]
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    in_sentences = re.findall(r"`(convscope [^`]+ [^`]+)`", text)
    return [line for line in in_blocks + in_sentences if " serve" not in line and not re.search(r"…|\bFILE\b", line)]


README = blocks("README.md", "python")
SHELL = {
    " ".join(words_of(re.sub(r" --out \S+", "", line))): (page, line)
    for page in [*GUIDES, "CONTRIBUTING.md", "README.md"]
    for line in shell_lines(page)
}
"""What these pages show to type, each command once; the workbench, which does not end by itself, has its own tests."""


def test_the_readme_shows_five_examples_in_python_and_five_in_the_shell() -> None:
    assert sum(code.count("\n# ") for code in README) + README[1].startswith("# 5") >= 5
    assert len(shell_lines("README.md")) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("code", README, ids=range(len(README)))
def test_python_snippets_of_the_readme_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    promised = re.findall(r'(?:save\(|out=)"([^"]+)"', code)
    assert [name for name in promised if not Path(name).exists()] == []


@pytest.mark.parametrize(("page", "line"), SHELL.values(), ids=SHELL)
@pytest.mark.process
def test_shell_lines_of_the_pages_run(page: str, line: str, tmp_path: Path) -> None:
    _, *words = prepare(line, tmp_path)
    ended = run_command(words, tmp_path)
    assert ended.status == 0, f"{page}: {ended.output}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *HOWTO])
def test_make_has_the_targets_that_the_pages_name(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", GUIDES)
@pytest.mark.process
def test_python_snippets_of_the_guides_run(page: str, tmp_path: Path) -> None:
    """Each block by itself, in a process of its own: one of them declares a lens.

    A block that begins with ``# needs the package NAME`` is left out where that package is not installed.
    """
    for code in blocks(page, "python"):
        needed = re.match(r"# needs the package (\w+)$", code, re.MULTILINE)
        if needed and importlib.util.find_spec(needed[1]) is None:
            continue
        ended = run_code(code, tmp_path)
        assert ended.status == 0, ended.output
        saved = re.findall(r'(?:save\(|out=)"([^"]+)"', code)
        assert [name for name in saved if not (tmp_path / name).exists()] == []


@pytest.mark.parametrize("name", DOCTESTED)
def test_examples_in_docstrings_give_what_they_show(name: str) -> None:
    module = importlib.import_module(name)
    if name in lens_modules().values():  # doctest does not look inside decorated functions by itself
        function = getattr(module, name.rpartition(".")[2])
        assert ">>>" in (function.__doc__ or ""), f"{name} has no example"
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_in_the_pages_exist(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
    missing = [t for t in targets if not t.startswith("http") and not (path.parent / t).exists()]
    assert missing == []
