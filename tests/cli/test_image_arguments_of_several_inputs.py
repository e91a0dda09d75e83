"""The command line for networks of several inputs, ``photo=a.png table=1,2``, and for texts of tokens."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convscope as cs
from convscope.reporting.reproduce import recipe
from tests.cli.conftest import Run

NETWORK = """
import convscope as cs
from tests.networks_of_several_inputs import image_and_table, word_scorer, WordScorer
from tests.nets import seeded

def words():
    return word_scorer()

def bare():
    return seeded(WordScorer).eval()
"""


@pytest.fixture(autouse=True)
def _files() -> None:
    Path("net.py").write_text(NETWORK, "utf-8")
    Path("vocabulary.txt").write_text("<pad>\ngood\nbad\nvery\nnot\nfilm\n", "utf-8")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save("a.png")


def test_each_input_is_named_and_one_can_be_chosen(run: Run) -> None:
    named = ("photo=a.png", "table=1,2,-1,0.5", "--model", "net.py:image_and_table")
    done = run("integrated-gradients", *named, "--steps", "4", "--out", "both.npz", "--json")
    manifest = json.loads(done.stdout)
    assert manifest["record"]["input"] == "photo=a.png table=1,2,-1,0.5"
    assert list(manifest["parts"]) == ["photo", "table"]
    both = cs.JointAttribution.load("both.npz")
    assert sum(both.totals.values()) == pytest.approx(both.score - both.notes["baseline score"], abs=1e-3)  # type: ignore[operator]
    done = run("grad-cam", *named, "--explain", "photo", "--out", "photo.npz")
    assert "written to photo.npz" in done.stdout
    photo = cs.Attribution.load("photo.npz")
    lines = recipe(photo.record)
    assert "explain='photo'" in lines.call
    assert "--explain photo" in lines.shell
    assert "'photo=a.png table=1,2,-1,0.5'" in lines.shell
    layer = ("--layer", "head", "--explain", "table", "--json")
    conductance = json.loads(run("layer-conductance", *named, *layer).stdout)
    assert conductance["notes"]["held"] == "photo"
    run("saliency", *named, "--explain", "photo", "--explain", "table", "--out", "two.npz")
    assert list(cs.JointAttribution.load("two.npz")) == ["photo", "table"]


def test_spaces_and_quotes_belong_to_an_input_and_a_file_with_an_equals_sign_is_a_file(run: Run) -> None:
    Path("a.png").rename("it's my photo.png")
    named = ("photo=it's my photo.png", "table=1,2,-1,0.5", "--model", "net.py:image_and_table", "--json")
    manifest = json.loads(run("saliency", *named).stdout)
    assert run("saliency", manifest["record"]["input"], *named[2:]).returncode == 0
    Path("it's my photo.png").rename("run=3.png")
    kept = Path("run=3.png").read_bytes()
    done = run("saliency", "run=3.png", "--model", "bundled:shapes", "--out", "run=3.png")
    assert "input" in done.stderr
    assert Path("run=3.png").read_bytes() == kept, "a result must not overwrite its input"
    scores = json.loads(run("predict", "photo=run=3.png", *named[1:]).stdout)
    assert "run=3.png" in scores["record"]["input"]


def test_what_a_network_of_several_inputs_takes_is_described(run: Run) -> None:
    done = run("models", "net.py:image_and_table")
    assert "several inputs, photo image 3×16×16, table table 4" in done.stdout
    assert re.search(r"output +3 ", done.stdout)
    assert json.loads(run("models", "net.py:image_and_table", "--json").stdout)["input"]["table"] == "table 4"
    assert "tokens" in run("models", "bundled:sequence").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("photo=a.png",), "the input 'table' is missing"),
        (("photo=a.png", "photo=b.png"), "the input 'photo' is named twice"),
        (("photo=a.png", "table=1,2"), "the row has 2 numbers"),
        (("photo=b.png", "table=1,2,3,4"), "no such file: 'b.png'"),
        (("a.png",), r"this network takes several inputs \(photo, table\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(run: Run, words: tuple[str, ...], message: str) -> None:
    done = run("saliency", *words, "--model", "net.py:image_and_table")
    assert done.returncode != 0
    assert re.search(message, done.stderr), done.stderr


def test_a_text_is_the_input_of_a_network_of_tokens(run: Run) -> None:
    own = run("saliency", "not very good", "--model", "net.py:words", "--target", "1", "--out", "own.npz")
    assert "not very good: Saliency" in own.stdout
    address = "net.py:bare?input=tokens&vocabulary=vocabulary.txt&padding=<pad>"
    run("saliency", "not very good", "--model", address, "--target", "1", "--out", "described.npz")
    np.testing.assert_array_equal(cs.Attribution.load("own.npz").values, cs.Attribution.load("described.npz").values)
    assert "token 'fine' is not in the vocabulary" in run("saliency", "not fine", "--model", "net.py:words").stderr
    absent = run("saliency", "not good", "--model", "net.py:bare?input=tokens&vocabulary=absent.txt")
    assert "?vocabulary=absent.txt: No such file" in absent.stderr


def test_named_inputs_are_compared_reported_and_advised_on(run: Run) -> None:
    named = ("photo=a.png", "table=1,2,-1,0.5", "--model", "net.py:image_and_table")
    refused = run("compare", *named, "--lenses", "saliency")
    assert refused.returncode == 2
    assert "choose it with --explain …, one of photo, table" in refused.stderr
    compared = run("compare", *named, "--lenses", "grad-cam,saliency", "--explain", "photo", "--json")
    cells = json.loads(compared.stdout)["rows"][0]
    assert [cell["record"]["lens"] for cell in cells] == ["grad-cam", "saliency"]
    run("report", *named, "--lenses", "predict,saliency", "--out", "report.html")
    assert "Saliency" in Path("report.html").read_text("utf-8")
    assert "saliency" in run("recommend", *named).stdout
