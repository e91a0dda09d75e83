"""What the documents promise is run: every snippet, every doctest, every generated page, every link."""

import doctest
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from convscope._names import PUBLIC, lens_modules
from tests.readme_files import prepare

ROOT = Path(__file__).parents[1]
HOWTO = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/howto/*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", *HOWTO]
PAGES += [f"docs/{name}.md" for name in ("gallery", "architecture", "glossary", "errors")]
DOCTESTED = sorted({*lens_modules().values(), *PUBLIC.values()})


FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
"""The code blocks of the README, each with its language."""

PYTHON = [code for language, code in FENCED if language == "python"]
SHELL = [
    line for language, code in FENCED if not language for line in code.splitlines() if line.startswith("convscope ")
]
"""What the README shows to type, but for make, which runs these tests."""


def test_the_readme_shows_five_examples_in_python_and_five_in_the_shell() -> None:
    assert sum(code.count("\n# ") for code in PYTHON) + PYTHON[1].startswith("# 5") >= 5
    assert len(SHELL) >= 5


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_snippets_of_the_readme_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    promised = re.findall(r'(?:save\(|out=)"([^"]+)"', code)
    assert [name for name in promised if not Path(name).exists()] == []


@pytest.mark.parametrize("line", SHELL)
@pytest.mark.process
def test_shell_lines_of_the_readme_run(line: str, tmp_path: Path) -> None:
    prepare(line, tmp_path)
    command = f"{Path(sys.executable).with_name('convscope')} {line.removeprefix('convscope ')}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", HOWTO)
@pytest.mark.process
def test_python_snippets_of_the_guides_run(page: str, tmp_path: Path) -> None:
    """Each block by itself, in a process of its own: one of them declares a lens.

    A block that begins with ``# needs the package NAME`` is left out where that package is not installed.
    """
    for code in re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL):
        needed = re.match(r"# needs the package (\w+)$", code, re.MULTILINE)
        if needed and importlib.util.find_spec(needed[1]) is None:
            continue
        command = [sys.executable, "-W", "ignore", "-c", code]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
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


@pytest.mark.process
def test_generated_files_are_up_to_date() -> None:
    script = [sys.executable, "-W", "ignore", str(ROOT / "scripts/generate.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
def test_editors_see_signatures_of_the_lazy_names(tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(
        "import convscope as cs\n"
        "model = cs.load('bundled:shapes')\n"
        "one = cs.grad_cam(model, 'a.png', layer='layer3', relu=True)\n"
        "many = cs.saliency(model, ['a.png', 'b.png'], sign='absolute')\n"
        "reveal_type(one)\nreveal_type(many)\n"
        "cs.saliency(model, 'a.png', sign='sideways')\ncs.no_such_lens\n"
    )
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--cache-dir", str(tmp_path / "cache"), "use.py"]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert 'Revealed type is "convscope.values.attribution.Attribution"' in output
    assert "list[convscope.values.attribution.Attribution]" in output
    assert "sideways" in output or "No overload variant" in output
    assert "no_such_lens" in output


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_in_the_pages_exist(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
    missing = [t for t in targets if not t.startswith("http") and not (path.parent / t).exists()]
    assert missing == []
