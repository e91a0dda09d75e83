"""Shared fixtures: services with bundled networks, and clients of the API."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from convscope.web.jobs.workers import JobManager
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.services import Services
from convscope.web.server.app import MODELS, SAMPLES, build
from tests.web.browsing import address, bundled_workbench, visit, warm_context
from tests.web.image_files import picture_file

__all__ = ["address", "bundled_workbench", "visit", "warm_context"]

HERE = "http://127.0.0.1:8000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with images, next to a file that the server must not show."""
    inside = tmp_path / "images"
    (inside / "sub").mkdir(parents=True)
    picture_file(inside / "cat.png")
    picture_file(inside / "sub" / "dog.jpg")
    picture_file(tmp_path / "secret.png")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    return inside


@pytest.fixture
def services(folder: Path) -> Iterator[Services]:
    """Services with bundled networks, bundled images and a folder."""
    services = Services(Library(MODELS, [folder], SAMPLES), JobManager())
    yield services
    services.jobs.close()


@pytest.fixture
def app(services: Services) -> FastAPI:
    """The API without pages, which can be mounted only once in a process."""
    return build(services, with_pages=False)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client on this machine."""
    with TestClient(app, base_url=HERE) as client:
        yield client
