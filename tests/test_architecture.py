"""What holds the house together: everything declared is documented, cited and twinned, and importing costs nothing."""

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import convscope as cs
from convscope.catalogue import declared_lens, declared_lenses, find
from convscope.spec import FAMILIES, LensSpec
from scripts.bibliography import bibliography

PACKAGE = Path(cs.__file__).parent
ROOT = Path(__file__).parents[1]
TWINS = Path(__file__).parent / "twins"

every_lens = pytest.mark.parametrize("spec", cs.lenses(), ids=lambda spec: spec.command)
FILES = sorted(PACKAGE.glob("lens/*/*.py"))


# Everything declared is accounted for


@every_lens
def test_every_lens_has_a_twin(spec: LensSpec) -> None:
    """A function of the lens's name in a test module of ``tests/twins``, where it is used: the formula once more."""
    for path in TWINS.glob("test_*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        written = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        if spec.name in written & used:
            return
    pytest.fail(f"write the formula of {spec.command} a second time: def {spec.name}(…) in a module of tests/twins")


@every_lens
def test_every_lens_cites_its_paper(spec: LensSpec) -> None:
    assert spec.cite in bibliography()
    assert f":cite:`{spec.cite}`" in (spec.function.__doc__ or "")


@every_lens
def test_every_lens_explains_itself(spec: LensSpec) -> None:
    """In words, for each argument, with an example that can be run, and with where it comes from."""
    said = inspect.getdoc(spec.function) or ""
    assert re.findall(r"^(Args|Returns|Example|Source):", said, re.MULTILINE) == [
        "Args",
        "Returns",
        "Example",
        "Source",
    ]
    assert ">>> import convscope as cs" in said
    assert f"cs.{spec.name}(" in said
    for argument in (*spec.inputs, *spec.parameters):
        assert re.search(rf"^    {argument}: \S", said, re.MULTILINE), f"{argument} is not explained"
    assert all(p.about.help and not p.about.help.endswith(".") for p in spec.parameters.values())
    assert spec.asks.endswith("?")
    assert spec.reads.endswith(".")
    assert spec.family in FAMILIES


@every_lens
def test_lists_and_help_texts_show_the_declaration(spec: LensSpec) -> None:
    """They read ``declarations.json``, so that nothing is imported; `make generate` renews it."""
    assert find(spec.command) is spec
    declared = declared_lens(spec.command)
    assert declared.as_json() == spec.as_json()
    assert (declared.command, declared.options.keys()) == (spec.command, spec.options.keys())
    assert (declared.each_image, declared.can_average) == (spec.each_image, spec.can_average)


def test_a_declaration_from_data_cannot_be_called() -> None:
    with pytest.raises(RuntimeError, match=r"find imports the lens itself"):
        declared_lens("grad-cam").function()


def test_a_lens_that_is_not_in_the_data_yet_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convscope.catalogue.json.loads", lambda text: {})
    assert list(declared_lenses.__wrapped__()) == list(cs.lenses())


def test_lenses_are_listed_by_family_and_name() -> None:
    order = [(list(FAMILIES).index(spec.family), spec.name) for spec in cs.lenses()]
    assert order == sorted(order)
    assert len({spec.command for spec in cs.lenses()}) == len(order)


@pytest.mark.parametrize("path", [f for f in FILES if not f.stem.startswith("_")], ids=lambda path: path.stem)
def test_a_lens_is_the_file_of_its_name_in_the_folder_of_its_family(path: Path) -> None:
    spec = find(path.stem)
    assert (spec.name, spec.family) == (path.stem, path.parent.name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_no_lens_knows_another_lens_or_another_family(path: Path) -> None:
    """Families meet through the engine; within one, only what starts with an underscore is shared."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            if name.startswith("convscope.lens"):
                assert re.fullmatch(rf"convscope\.lens\.{path.parent.name}\._\w+", name), f"{path.name} imports {name}"
            assert not re.match(r"convscope\.(render|cli|reporting|loaders|samples)", name), (
                f"{path.name} imports {name}"
            )


# Settings around a call

MADE = {"zeros", "ones", "empty", "full", "arange", "linspace", "logspace", "eye", "tensor", "as_tensor"}
MADE |= {"rand", "randn", "randint", "randperm", "fftfreq", "rfftfreq", "tril_indices", "triu_indices"}
OF_FLOATS = {"zeros", "ones", "empty", "linspace", "logspace", "eye", "rand", "randn", "fftfreq", "rfftfreq"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_tensor_that_is_made_names_its_device_and_precision(path: Path) -> None:
    """Else a default device or precision that a person has set decides on it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not re.match(r"torch\.(fft\.)?\w+$", ast.unparse(node.func)):
            continue
        name, named = ast.unparse(node.func).split(".")[-1], {keyword.arg for keyword in node.keywords}
        if name in MADE and None not in named:  # None: given by **
            wanted = {"device"} | ({"dtype"} if name in OF_FLOATS else set())
            assert wanted <= named, f"line {node.lineno}: {ast.unparse(node)}"


# The public face


def test_all_is_what_dir_shows() -> None:
    assert sorted([*cs.__all__, "__version__"]) == dir(cs)
    assert {spec.name for spec in cs.lenses()} <= set(cs.__all__)


@pytest.mark.parametrize("name", cs.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(cs, name) is not None


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(AttributeError, match="no attribute 'grad_camm'; did you mean 'grad_cam'"):
        cs.grad_camm  # noqa: B018


# What importing costs


def _in_a_fresh_process(code: str) -> dict[str, object]:
    """What ``code`` leaves in ``said``, run by an interpreter that has imported nothing yet."""
    script = f"import json, sys\nsaid = {{}}\n{code}\nprint(json.dumps(said))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


HEAVY = ("torch", "torchvision", "timm", "matplotlib", "sklearn", "numpy", "PIL", "typer")
NOTES = f"said |= {{'heavy': [m for m in {HEAVY} if m in sys.modules]}}"


def test_importing_convscope_imports_nothing_heavy() -> None:
    assert _in_a_fresh_process(f"import convscope\n{NOTES}")["heavy"] == []


def test_listing_the_lenses_imports_nothing_heavy() -> None:
    listing = "said['lenses'] = [spec.command for spec in declared_lenses()]"
    code = f"from convscope.catalogue import declared_lenses\n{listing}\n{NOTES}"
    said = _in_a_fresh_process(code)
    assert said["heavy"] == []
    assert said["lenses"] == [spec.command for spec in cs.lenses()]


def test_the_help_of_a_lens_imports_neither_the_lens_nor_torch() -> None:
    code = (
        "from contextlib import redirect_stdout, suppress\nfrom io import StringIO\nfrom convscope.cli import app\n"
        "with redirect_stdout(StringIO()) as out, suppress(SystemExit):\n"
        "    app(['grad-cam', '--help'])(['grad-cam', '--help'])\n"
        "said['help'] = '--layer' in out.getvalue()\n"
        "said['lens'] = 'convscope.lens.cam.grad_cam' in sys.modules\n" + NOTES
    )
    said = _in_a_fresh_process(code)
    assert said["help"]
    assert not said["lens"]
    assert "torch" not in said["heavy"]


def test_the_first_explanation_does_not_import_a_compiler() -> None:
    """``torch._dynamo`` and sympy take as long as torch itself; nothing here is compiled."""
    code = (
        "import convscope as cs\ncs.grad_cam(cs.load('bundled:digits'), 'sample:digits/3')\n"
        "names = ('torch._dynamo', 'sympy', 'convscope.lens.perturbation.rise')\n"
        "said['modules'] = [name for name in names if name in sys.modules]"
    )
    assert _in_a_fresh_process(code)["modules"] == []


def test_a_picture_is_drawn_without_matplotlib(tmp_path: Path) -> None:
    """Importing it takes a third of the time that torch takes; only vector files need it."""
    code = (
        "import convscope as cs\ncs.grad_cam(cs.load('bundled:digits'), 'sample:digits/3')"
        f".save({str(tmp_path / 'map.png')!r})\n{NOTES}"
    )
    assert "matplotlib" not in _in_a_fresh_process(code)["heavy"]


def test_the_test_above_would_notice() -> None:
    said = _in_a_fresh_process(f"import convscope\nconvscope.grad_cam\n{NOTES}")
    assert "torch" in said["heavy"]
