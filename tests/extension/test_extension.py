"""An installed package adds a lens, a kind of value with its picture, and a kind of input; every surface has them.

The package ``crop_lenses`` beside this file touches only the places that CONTRIBUTING names. The tests install it into
a temporary folder and look at every surface from processes that have this folder on their path.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.web.browsing import visit, warm_context, workbench
from tests.web.server_processes import Forker

__all__ = ["visit", "warm_context"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
AREA = "8,8,56,56"
IMAGE = "sample:shapes/7"


def install(folder: Path, entry_points: str) -> Path:
    """The package and its entry points in a folder, as an installer leaves them."""
    shutil.copytree(HERE / "crop_lenses", folder / "crop_lenses", ignore=shutil.ignore_patterns("__pycache__"))
    metadata = folder / "crop_lenses-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: crop-lenses\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("site"), (HERE / "entry_points.txt").read_text())


def python(site: Path, code: str, *words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python with the package on its path."""
    path = os.pathsep.join([str(site), str(ROOT), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def printed(site: Path, code: str, folder: Path | None = None) -> Any:
    """What a program prints as JSON."""
    done = python(site, code, folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def convscope(site: Path, *words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return python(site, "import convscope_start; convscope_start.main()", *words, folder=folder)


IN_PYTHON = f"""
import json
import convscope as cs
from convscope.reporting.cards import card_of
from convscope.request import Request
from tests.lens_calls import call_lens, assert_same
model = cs.load("bundled:shapes")
value = cs.crop_score(model, {IMAGE!r}, area={AREA!r}, background=0.5)
value.save("it.npz"), value.save("it.png")
spec = next(spec for spec in cs.lenses() if spec.name == "crop_score")
assert_same(cs.Value.load("it.npz"), value)
assert_same(call_lens(spec, model, {IMAGE!r}, area={AREA!r}, background=0.5), value)
request = Request("crop-score", dict(model="bundled:shapes", image={IMAGE!r}, area={AREA!r}), dict(background=0.5))
assert_same(request.run(), value)
card = card_of(value, "a")
names = dict()
exec(card.recipe.opening + "\\nagain = " + card.recipe.call, names)
assert_same(names["again"], value)
print(json.dumps(dict(
    kind=type(value).__name__, area=value.area, scores=value.scores.tolist(), table=repr(cs.lenses()),
    listed="crop_score" in dir(cs), call=card.recipe.call, shell=card.recipe.shell, picture=card.picture[:22],
    title=card.title, record=value.manifest()["record"]["parameters"],
)))
"""


@pytest.fixture(scope="module")
def in_python(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("python")
    return printed(site, IN_PYTHON, folder)


def test_python_lists_calls_saves_and_loads_it(in_python: Any) -> None:
    assert in_python["kind"] == "CropScore"
    assert in_python["area"] == [8, 8, 56, 56]
    assert in_python["scores"][0] > in_python["scores"][1]
    assert in_python["listed"]
    assert "crop_score" in in_python["table"]
    assert "How high is the score if only a rectangle of the image is kept?" in in_python["table"]


def test_a_report_has_its_card_and_the_lines_that_reproduce_it(in_python: Any) -> None:
    assert in_python["title"] == "Crop score"
    assert in_python["picture"] == "data:image/png;base64,"
    assert in_python["record"] == {"background": 0.5, "area": AREA}
    assert in_python["call"] == f"cs.crop_score(model, {IMAGE!r}, background=0.5, area={AREA!r})"
    assert in_python["shell"] == (f"convscope crop-score {IMAGE} --model bundled:shapes --background 0.5 --area {AREA}")


def test_the_command_line_runs_it_and_gives_the_same(site: Path, in_python: Any, tmp_path: Path) -> None:
    _, *words = in_python["shell"].split()
    done = convscope(site, *words, "--json", "--out", "it.npz", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kind"] == "CropScore"
    with np.load(tmp_path / "it.npz") as stored:
        np.testing.assert_allclose(stored["scores"], in_python["scores"], rtol=1e-5)
    done = convscope(site, "crop-score", IMAGE, "-m", "bundled:shapes", "--area", "9", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "convscope: --area must be top,left,bottom,right in pixels, as in '8,8,24,24', got '9'"
    )
    done = convscope(site, "crop-score", IMAGE, "-m", "bundled:shapes", "--area", AREA, folder=tmp_path)
    assert "for the whole image" in done.stdout
    assert (tmp_path / "shapes-7-crop-score-8-8-56-56.png").is_file()


def test_help_of_a_package_with_declarations_imports_nothing_heavy(site: Path, tmp_path: Path) -> None:
    written = install(tmp_path / "site", (HERE / "entry_points.txt").read_text())
    code = "from convscope.catalogue import declarations_of; print(declarations_of('crop_lenses'), end='')"
    declarations = python(site, code).stdout
    (written / "crop_lenses/declarations.json").write_text(declarations)
    assert list(json.loads(declarations)) == ["crop_score"]
    code = (
        "import sys, convscope_start\n"
        "try: convscope_start.main()\n"
        "except SystemExit: print({'torch', 'crop_lenses.crop_score'} & {*sys.modules}, file=sys.stderr)"
    )
    for words in (["--help"], ["crop-score", "--help"]):
        done = python(written, code, *words)
        assert "crop-score" in done.stdout
        assert done.stderr.strip() == "set()", done.stderr
    text = " ".join(done.stdout.split())
    assert "--area RECTANGLE the rectangle of the image that is kept, as top,left,bottom,right in pixels" in text
    assert "brightness of what is removed (0 to 1) [default: 0.0]" in text


IN_API = f"""
import json
from fastapi.testclient import TestClient
from convscope.web.server.app import MODELS, SAMPLES, build
from convscope.web.jobs.workers import JobManager
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.services import Services
services = Services(Library(MODELS, [], SAMPLES), JobManager())
with TestClient(build(services, with_pages=False), base_url="http://127.0.0.1:8000") as client:
    listed = {{lens["name"]: lens for lens in client.get("/api/v1/lenses").json()}}["crop_score"]
    body = dict(lens="crop-score", image={IMAGE!r}, area={AREA!r}, parameters=dict(background=0.5))
    job = client.post("/api/v1/run", params=dict(wait=60), json=body).json()
    result = client.get(job["results"]["json"]).json()
    png = client.get(job["results"]["png"]).content[:4]
    refused = client.post("/api/v1/run", params=dict(wait=60), json=dict(body, area="9"))
    schema = client.get("/api/v1/openapi.json").json()["components"]["schemas"]["RunRequest"]["properties"]
services.jobs.close()
print(json.dumps(dict(
    listed=listed, result=result, png=png.hex(), refused=[refused.status_code, refused.json()], fields=list(schema),
    link=job["link"],
)))
"""


def test_the_http_api_lists_and_runs_it(site: Path, in_python: Any) -> None:
    printed_by_api = printed(site, IN_API)
    assert printed_by_api["listed"]["returns"] == "CropScore"
    assert printed_by_api["listed"]["inputs"] == ["model", "image", "area"]
    assert "area" in printed_by_api["fields"]
    assert printed_by_api["result"]["record"]["parameters"] == in_python["record"]
    assert printed_by_api["png"] == b"\x89PNG".hex()
    assert printed_by_api["refused"][0] == 422
    assert printed_by_api["refused"][1]["error"].startswith("area must be top,left,bottom,right in pixels")
    assert printed_by_api["link"].startswith("/look?")
    assert "area=8%2C8%2C56%2C56" in printed_by_api["link"]


@pytest.fixture
def address(site: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A workbench that has the package."""
    monkeypatch.syspath_prepend(str(site))
    forker = Forker()
    with workbench(forker=forker) as server:
        yield server.address
    forker.close()


def test_a_page_shows_its_picture_and_a_field_for_its_input(visit: Any, address: str) -> None:
    page = visit(f"/look?lens=crop-score&image={IMAGE}&area={AREA}")
    page.wait_for_selector(".card figure.value img")
    card = page.locator(".card")
    assert card.count() == 1
    assert "How high is the score if only a rectangle of the image is kept?" in card.inner_text()
    page.get_by_role("button", name="Choose lenses").click()
    page.locator(".chip", has_text="Perturbation").click()
    page.locator(".lens-choice", has_text="Crop score").wait_for()
    card.locator("summary").first.click()
    field = card.get_by_label("Area")
    assert field.input_value() == AREA
    before = card.locator("figure.value img").get_attribute("src")
    field.fill("0,0,8,8")
    page.wait_for_url("**area=0%2C0%2C8%2C8**")
    page.wait_for_function(
        "before => { const img = document.querySelector('.card figure.value img'); return img && img.src !== before }",
        arg=before,
    )
    assert "--area 0,0,8,8" in card.locator("pre").text_content()


BROKEN = {
    "lenses|grad_cam = crop_lenses.crop_score": "adds the lens 'grad_cam' (crop_lenses.crop_score), a name",
    "lenses|crop = crop_lenses.missing": "crop_lenses.missing, which an installed package adds to convscope",
    "lenses|crop = crop_lenses.value": "crop_lenses.value declares no lens 'crop'",
    "inputs|target = crop_lenses.area:AREA": "adds the kind of input 'target': this must be an InputKind",
    "inputs|area = crop_lenses.area:NONE": "to the inputs of convscope as crop_lenses.area:NONE, which is not there",
}
"""A group and an entry of it → what the error says."""


@pytest.mark.parametrize(("entry_points", "message"), BROKEN.items(), ids=range(len(BROKEN)))
def test_a_package_that_declares_wrongly_is_named(entry_points: str, message: str, tmp_path: Path) -> None:
    site = install(tmp_path / "site", "[convscope.{}]\n{}\n".format(*entry_points.split("|")))
    code = "from convscope.spec import INPUT_KINDS; from convscope.catalogue import lenses; list(INPUT_KINDS), lenses()"
    done = python(site, f"import convscope.errors as e\ntry: {code}\nexcept e.LoadError as error: print(error)")
    assert message in done.stdout, done.stderr
    done = convscope(site, "--help")
    assert (done.returncode, message in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


def test_contributing_names_the_places() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    groups = [line.strip("[]") for line in (HERE / "entry_points.txt").read_text().splitlines() if line[:1] == "["]
    assert len(groups) == 4
    assert [group for group in groups if group not in contributing] == []
