"""What the documents promise is run: every snippet, every doctest, every generated page, every link."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from convscope._names import PUBLIC, lens_modules

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/gallery.md", "docs/architecture.md", "CONTRIBUTING.md"]
DOCTESTED = sorted({*lens_modules().values(), *PUBLIC.values()})


def snippets(language: str) -> list[pytest.param]:
    """The code blocks of the README, each with a name."""
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [pytest.param(block, id=f"{language or 'shell'}-{i}") for i, block in enumerate(blocks)]


@pytest.mark.parametrize("code", snippets("python"))
def test_python_snippets_of_the_readme_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    promised = re.findall(r'(?:save\(|out=)"([^"]+)"', code)
    assert [name for name in promised if not Path(name).exists()] == []


def shell_lines() -> list[str]:
    """The commands that the README shows, but for make, which runs these tests."""
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("convscope ")]


@pytest.mark.parametrize("line", shell_lines())
def test_shell_lines_of_the_readme_run(line: str, tmp_path: Path) -> None:
    command = f"{Path(sys.executable).with_name('convscope')} {line.removeprefix('convscope ')}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", DOCTESTED)
def test_examples_in_docstrings_give_what_they_show(name: str) -> None:
    module = importlib.import_module(name)
    if name in lens_modules().values():  # doctest does not look inside decorated functions by itself
        function = getattr(module, name.rpartition(".")[2])
        assert ">>>" in (function.__doc__ or ""), f"{name} has no example"
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0


def test_generated_files_are_up_to_date() -> None:
    script = [sys.executable, "-W", "ignore", str(ROOT / "scripts/generate.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


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
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert 'Revealed type is "convscope.values.Attribution"' in said
    assert "list[convscope.values.Attribution]" in said
    assert "sideways" in said or "No overload variant" in said
    assert "no_such_lens" in said


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_in_the_pages_exist(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
    missing = [t for t in targets if not t.startswith("http") and not (path.parent / t).exists()]
    assert missing == []
