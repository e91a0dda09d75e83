"""What tests of the workbench share: a bench with bundled networks, and clients that come in by the API."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from convscope.web.app import MODELS, SAMPLES, build
from convscope.web.assets import Library
from convscope.web.jobs.workers import Jobs
from convscope.web.services import Bench
from tests.web.library import picture_file

HERE = "http://127.0.0.1:8000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an image, beside a file that nobody was to see."""
    inside = tmp_path / "images"
    (inside / "sub").mkdir(parents=True)
    picture_file(inside / "cat.png")
    picture_file(inside / "sub" / "dog.jpg")
    picture_file(tmp_path / "secret.png")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    return inside


@pytest.fixture
def bench(folder: Path) -> Iterator[Bench]:
    """Bundled networks, bundled images and a folder."""
    made = Bench(Library(MODELS, [folder], SAMPLES), Jobs())
    yield made
    made.jobs.close()


@pytest.fixture
def app(bench: Bench) -> FastAPI:
    """The API without pages: those live once in a process."""
    return build(bench, with_pages=False)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """Who comes in from this machine."""
    with TestClient(app, base_url=HERE) as made:
        yield made
