"""A function of arrays in one's own file is a model on the command line."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run

SOURCE = """
import numpy as np
import convscope as cs

def brightness(images):
    middle = images[:, :, 4:12, 4:12].mean(axis=(1, 2, 3))
    return np.stack([1 - middle, middle], axis=1)

def make():
    return cs.Model(brightness, input=cs.ImageInput(size=16), labels=["dark", "bright"])

def make_bare():
    return brightness
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "own_function.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize(
    "words",
    [("occlusion", "--patch", "4", "--stride", "4"), ("rise", "--samples", "64"), ("lime", "--samples", "64")],
    ids=lambda words: words[0],
)
def test_lenses_that_compare_scores_work(run: Run, source: Path, words: tuple[str, ...]) -> None:
    lens, *options = words
    command = (lens, "sample:photo/flower", "--model", f"{source}:make", "--target", "bright", "--json", *options)
    done = run(*command)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["record"]["lens"] == lens
    assert value["target"] == "bright"


def test_size_and_labels_may_come_from_the_command_line(run: Run, source: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("dark\nbright\n")
    address = f"{source}:make_bare?size=16&labels={tmp_path / 'names.txt'}"
    done = run("predict", "sample:photo/flower", "--model", address)
    assert done.returncode == 0, done.stderr
    assert "bright" in done.stdout


@pytest.mark.parametrize("lens", ["grad-cam", "integrated-gradients", "lrp", "structure"])
def test_others_refuse_and_name_those_that_work(run: Run, source: Path, lens: str) -> None:
    image = () if lens == "structure" else ("sample:photo/flower",)
    done = run(lens, *image, "--model", f"{source}:make")
    assert done.returncode == 2
    assert f"{lens} needs the" in " ".join(done.stderr.split())
    assert "occlusion" in done.stderr
