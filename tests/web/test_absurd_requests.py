"""Requests of absurd size are refused at once, in one sentence and before any work is queued."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from convscope.web.api import AT
from convscope.web.app import MODELS, SAMPLES, build
from convscope.web.assets import Library
from convscope.web.services import Bench
from tests.web.conftest import HERE

DIGITS = "9" * 6000

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "layers": ({"lens": "feature-maps", "layer": ["layer2"] * 20_000}, "layer names 20,000: at most 1,000"),
    "units": ({"lens": "step-through", "unit": ["layer2[1]"] * 5000}, "unit names 5,000: at most 1,000"),
    "a range of images": (
        {"lens": "top-inputs", "unit": ["layer2[1]"], "images": "sample:shapes/0-100000000"},
        "names 100,000,001 images: a server goes through 2,000",
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
def bench() -> Iterator[Bench]:
    """A server that opens whatever model is named."""
    made = Bench(Library(MODELS, (), SAMPLES, allow_load=True))
    yield made
    made.jobs.close()


@pytest.fixture(scope="module")
def client(bench: Bench) -> Iterator[TestClient]:
    with TestClient(build(bench, with_pages=False), base_url=HERE) as made:
        yield made


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_before_a_job_is_started(
    client: TestClient, bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a job was started")

    monkeypatch.setattr(bench.jobs, "submit", started)
    asked, said = REFUSED[name]
    told = client.post(f"{AT}/run", json={"image": "sample:shapes/7", **asked})
    assert told.status_code == (404 if name == "no collection" else 422)
    assert said in told.json()["error"]
    assert len(told.json()["error"]) < 200


@pytest.mark.parametrize("size", ["100000000", "100000x100000", "20000x20000", DIGITS[:400]])
@pytest.mark.parametrize("option", ["size", "resize"])
def test_a_network_of_absurd_images_is_refused(client: TestClient, option: str, size: str) -> None:
    if option == "resize" and "x" in size:
        return
    asked = {"lens": "grad-cam", "model": f"bundled:shapes?{option}={size}", "image": "sample:shapes/7"}
    told = client.post(f"{AT}/run", params={"wait": 60}, json=asked)
    assert told.status_code == 422
    assert "is more than 20000 a side or 100 million pixels" in told.json()["error"]
    told = client.get(f"{AT}/layers", params={"model": asked["model"]})
    assert told.status_code == 422


def test_a_depth_of_thousands_of_digits_is_refused(client: TestClient) -> None:
    asked = {"lens": "lrp", "image": "sample:shapes/7", "parameters": {"rules": f"depth 0..{DIGITS}: flat"}}
    told = client.post(f"{AT}/run", params={"wait": 60}, json=asked)
    assert told.status_code == 422
