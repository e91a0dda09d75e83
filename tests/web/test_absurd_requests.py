"""Requests of absurd size are refused at once, in one sentence and before any work is queued."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from convscope.web.api import API_PREFIX
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.services import Services
from convscope.web.server.app import MODELS, SAMPLES, build
from tests.web.conftest import HERE

DIGITS = "9" * 6000

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "layers": ({"lens": "feature-maps", "layer": ["layer2"] * 20_000}, "layer names 20,000: at most 1,000"),
    "units": ({"lens": "step-through", "unit": ["layer2[1]"] * 5000}, "unit names 5,000: at most 1,000"),
    "a range of images": (
        {"lens": "top-inputs", "unit": ["layer2[1]"], "images": "sample:shapes/0-100000000"},
        "names 100,000,001 images: at most 2,000 of a range are allowed",
    ),
    "no collection": ({"lens": "top-inputs", "images": "folder:999999999999"}, "no collection 'folder:999999999999'"),
    "a matrix": ({"lens": "convolve", "parameters": {"matrix": "1 " * 100_000}}, "matrix has 200,000 characters"),
    "channels": ({"lens": "concept-relevance", "parameters": {"channels": "3," * 20_000}}, "channels has 40,000"),
    "layers in a text": (
        {"lens": "style-transfer", "style": "sample:shapes/1", "parameters": {"content_layers": "layer1," * 20_000}},
        "content_layers has 140,000 characters",
    ),
    "a whole number": ({"lens": "smooth-grad", "parameters": {"samples": 10**400}}, "samples must be 1 to 4096"),
}


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """Services that load any model address."""
    services = Services(Library(MODELS, (), SAMPLES, allow_load=True))
    yield services
    services.jobs.close()


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(build(services, with_pages=False), base_url=HERE) as client:
        yield client


@pytest.mark.parametrize("name", REFUSED)
def test_request_is_refused_before_a_job_starts(
    client: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a job was started")

    monkeypatch.setattr(services.jobs, "submit", started)
    body, message = REFUSED[name]
    response = client.post(f"{API_PREFIX}/run", json={"image": "sample:shapes/7", **body})
    assert response.status_code == (404 if name == "no collection" else 422)
    assert message in response.json()["error"]
    assert len(response.json()["error"]) < 200


@pytest.mark.parametrize("size", ["100000000", "100000x100000", "20000x20000", DIGITS[:400]])
@pytest.mark.parametrize("option", ["size", "resize"])
def test_model_with_absurd_image_size_is_refused(client: TestClient, option: str, size: str) -> None:
    if option == "resize" and "x" in size:
        return
    body = {"lens": "grad-cam", "model": f"bundled:shapes?{option}={size}", "image": "sample:shapes/7"}
    response = client.post(f"{API_PREFIX}/run", params={"wait": 60}, json=body)
    assert response.status_code == 422
    assert "is more than 20000 a side or 100 million pixels" in response.json()["error"]
    response = client.get(f"{API_PREFIX}/layers", params={"model": body["model"]})
    assert response.status_code == 422


def test_depth_with_thousands_of_digits_is_refused(client: TestClient) -> None:
    body = {"lens": "lrp", "image": "sample:shapes/7", "parameters": {"rules": f"depth 0..{DIGITS}: flat"}}
    response = client.post(f"{API_PREFIX}/run", params={"wait": 60}, json=body)
    assert response.status_code == 422
