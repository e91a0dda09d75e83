"""The parts fit together: every lens is documented and cited, tests mirror the package, and importing is cheap."""

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
from tests.narrowing import unchecked
from tests.twins.binding import lens_of, twin_of

PACKAGE = Path(cs.__file__).parent
ROOT = Path(__file__).parents[1]
TWINS = Path(__file__).parent / "twins"

every_lens = pytest.mark.parametrize("spec", cs.lenses(), ids=lambda spec: spec.command)
FILES = sorted(PACKAGE.glob("lens/*/*.py"))


# Everything declared is accounted for


def bound_twins(folder: Path) -> dict[str, list[tuple[Path, str]]]:
    """By name of a lens, the files and functions that ``@twin_of(cs.LENS)`` binds to it."""
    twins: dict[str, list[tuple[Path, str]]] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "twin_of":
                    (lens,) = decorator.args
                    twins.setdefault(ast.unparse(lens).removeprefix("cs."), []).append((path, node.name))
    return twins


BOUND_TWINS = bound_twins(TWINS)


@every_lens
def test_every_lens_has_one_twin_in_a_file_of_its_own(spec: LensSpec) -> None:
    """The formula once more, bound by ``@twin_of(cs.LENS)``, and used by the tests of the same file."""
    path = TWINS / spec.family / f"test_{spec.name}.py"
    twins = BOUND_TWINS.get(spec.name, [])
    where = path.relative_to(ROOT)
    assert [file for file, _ in twins] == [path], (
        f"bind one function to {spec.command} in {where}: @twin_of(cs.{spec.name})"
    )
    ((_, function),) = twins
    uses = [node.id for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Name)]
    assert function in uses, f"{where} does not compare the lens with its twin"


def test_every_twin_is_bound_to_a_lens_of_the_catalogue() -> None:
    assert set(BOUND_TWINS) - {spec.name for spec in cs.lenses()} == set()


@pytest.mark.parametrize("path", sorted(TWINS.glob("*/test_*.py")), ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_every_file_in_the_folder_of_a_family_binds_the_twin_of_its_lens(path: Path) -> None:
    """What concerns several lenses stands in ``tests/twins`` itself."""
    lenses = [lens for lens, twins in BOUND_TWINS.items() if path in [file for file, _ in twins]]
    assert lenses == [path.stem.removeprefix("test_")]


def test_a_twin_that_is_missing_double_or_bound_to_nothing_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "cam").mkdir()
    (tmp_path / "cam/test_grad_cam.py").write_text(
        "@twin_of(cs.grad_cam)\ndef first(): ...\n@twin_of(cs.grad_cam)\ndef second(): ...\n"
    )
    (tmp_path / "cam/test_no_lens.py").write_text("@twin_of(cs.no_lens)\ndef third(): ...\ndef fourth(): ...\n")
    twins = bound_twins(tmp_path)
    assert {lens: [name for _, name in functions] for lens, functions in twins.items()} == {
        "grad_cam": ["first", "second"],
        "no_lens": ["third"],
    }


def test_a_twin_is_bound_to_a_lens_only() -> None:
    with pytest.raises(TypeError, match=r"a twin is bound to a lens, as in @twin_of\(cs.grad_cam\)"):
        twin_of(cs.load)
    assert lens_of(twin_of(cs.grad_cam)(lambda a, g: a * g)) == "grad_cam"


@every_lens
def test_every_lens_cites_its_paper(spec: LensSpec) -> None:
    assert spec.cite in bibliography()
    assert f":cite:`{spec.cite}`" in (spec.function.__doc__ or "")


@every_lens
def test_every_lens_explains_itself(spec: LensSpec) -> None:
    """In words, for each argument, with an example that can be run, and with where it comes from."""
    docstring = inspect.getdoc(spec.function) or ""
    assert re.findall(r"^(Args|Returns|Example|Source):", docstring, re.MULTILINE) == [
        "Args",
        "Returns",
        "Example",
        "Source",
    ]
    assert ">>> import convscope as cs" in docstring
    assert f"cs.{spec.name}(" in docstring
    for argument in (*spec.inputs, *spec.parameters):
        assert re.search(rf"^    {argument}: \S", docstring, re.MULTILINE), f"{argument} is not explained"
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


# Tests mirror the package


OF_A_WHOLE_PACKAGE = {
    "engine/test_complex_layers.py",
    "engine/test_memory.py",
    "render/test_every_value.py",
    "render/test_long_text.py",
    "render/test_truncation.py",
}
"""Tests of a package as a whole; those of all packages lie directly in ``tests``, those of pages in ``tests/web``."""
MIRRORED = ("cli", "engine", "loaders", "render", "reporting", "runtime", "samples", "spec", "training", "values")
MIRRORING = [path for folder in MIRRORED for path in sorted((ROOT / "tests" / folder).rglob("test_*.py"))]


def mirrored_module(test: Path) -> Path | None:
    """What a test file is of: ``tests/engine/run/test_zero_maps.py`` is of ``engine/run/zero_maps.py``.

    Words may follow: ``test_checks_of_the_backward_pass.py`` tests a part of ``checks.py``.
    """
    folder = PACKAGE / test.parent.relative_to(ROOT / "tests")
    words = test.stem.removeprefix("test_").split("_")
    for length in range(len(words), 0, -1):
        name = "_".join(words[:length])
        for module in (folder / f"{name}.py", folder / name / "__init__.py"):
            if module.exists():
                return module
    return None


@pytest.mark.parametrize("path", MIRRORING, ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_a_test_file_lies_where_its_module_lies(path: Path) -> None:
    if path.relative_to(ROOT / "tests").as_posix() not in OF_A_WHOLE_PACKAGE:
        assert mirrored_module(path), f"{path} tests no module of its name: move it, or list it in OF_A_WHOLE_PACKAGE"


def test_every_package_has_its_folder_of_tests_or_none() -> None:
    """No folder of tests is left over from a package that was renamed; helpers lie beside the tests that use them."""
    for path in sorted((ROOT / "tests" / "engine").iterdir()):
        assert not path.is_dir() or path.name == "__pycache__" or (PACKAGE / "engine" / path.name).is_dir(), path
    assert all((ROOT / "tests" / path).exists() for path in OF_A_WHOLE_PACKAGE)


def test_the_test_of_mirrored_files_would_fail_for_a_renamed_module() -> None:
    assert mirrored_module(ROOT / "tests/engine/run/test_zero_maps.py") == PACKAGE / "engine/run/zero_maps.py"
    assert mirrored_module(ROOT / "tests/engine/run/test_blank_maps.py") is None
    assert mirrored_module(ROOT / "tests/engine/layers/test_zero_maps.py") is None


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


PUBLIC_NAMES: list[str] = unchecked.__all__


def test_all_is_what_dir_shows() -> None:
    assert sorted([*PUBLIC_NAMES, "__version__"]) == dir(cs)
    assert {spec.name for spec in cs.lenses()} <= set(PUBLIC_NAMES)


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(cs, name) is not None


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(AttributeError, match="no attribute 'grad_camm'; did you mean 'grad_cam'"):
        unchecked.grad_camm  # noqa: B018


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
    imported = _in_a_fresh_process(code)
    assert imported["heavy"] == []
    assert imported["lenses"] == [spec.command for spec in cs.lenses()]


def test_the_help_of_a_lens_imports_neither_the_lens_nor_torch() -> None:
    code = (
        "from contextlib import redirect_stdout, suppress\nfrom io import StringIO\nfrom convscope.cli import app\n"
        "with redirect_stdout(StringIO()) as out, suppress(SystemExit):\n"
        "    app(['grad-cam', '--help'])(['grad-cam', '--help'])\n"
        "said['help'] = '--layer' in out.getvalue()\n"
        "said['lens'] = 'convscope.lens.cam.grad_cam' in sys.modules\n" + NOTES
    )
    imported = _in_a_fresh_process(code)
    assert imported["help"]
    assert not imported["lens"]
    assert "torch" not in imported["heavy"]


@pytest.mark.slow
def test_the_first_explanation_does_not_import_a_compiler() -> None:
    """``torch._dynamo``, sympy and scikit-learn take as long as torch itself; nothing here is compiled or fitted."""
    code = (
        "import convscope as cs\ncs.grad_cam(cs.load('bundled:digits'), 'sample:digits/3')\n"
        "names = ('torch._dynamo', 'sympy', 'sklearn', 'convscope.lens.perturbation.rise')\n"
        "said['modules'] = [name for name in names if name in sys.modules]"
    )
    assert _in_a_fresh_process(code)["modules"] == []


@pytest.mark.slow
def test_a_picture_is_drawn_without_matplotlib(tmp_path: Path) -> None:
    """Importing it takes a third of the time that torch takes; only vector files need it."""
    code = (
        "import convscope as cs\ncs.grad_cam(cs.load('bundled:digits'), 'sample:digits/3')"
        f".save({str(tmp_path / 'map.png')!r})\n{NOTES}"
    )
    assert "matplotlib" not in _in_a_fresh_process(code)["heavy"]


@pytest.mark.slow
def test_the_test_above_would_notice() -> None:
    imported = _in_a_fresh_process(f"import convscope\nconvscope.grad_cam\n{NOTES}")
    assert "torch" in imported["heavy"]
