"""Networks that raise, hang or return nonsense: an error on every page, 500 by the API, others are not affected."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient

from convscope.web.api import API_PREFIX
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.services import Services
from convscope.web.server.app import MODELS, SAMPLES, build
from tests.waiting import TIMEOUT
from tests.web import faulty_networks as faulty
from tests.web import hanging_network as hanging
from tests.web.browsing import workbench
from tests.web.conftest import HERE

pytest.importorskip("nicegui")

FILE = Path(faulty.__file__)
NAMES = ("raises", "tires", "backward", "hangs", "dictionary", "not_numbers", "unbuildable", "leaves", "ends", "broken")
RAISED = faulty.SAID
SAYS = {
    "raises": RAISED,
    "tires": RAISED,
    "backward": f"in the backward pass: {RAISED}",
    "dictionary": "gives dict, not a tensor",
    "not_numbers": "NaN or infinite",
    "broken": "NaN or infinite",
    "unbuildable": f"raised ValueError: {RAISED}",
    "leaves": "SystemExit",
    "ends": "raised SystemExit: 4",
}
SHUT = ("unbuildable", "ends")
"""Those that cannot even be opened: with them no server begins."""
STATUS = {"dictionary": 422, "broken": 422, "not_numbers": 422, "unbuildable": 422, "ends": 422}


def named(name: str) -> str:
    return f"{FILE}:{name}"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """A bench of networks that fail, and of one that does not."""
    services = Services(Library([*map(named, NAMES), *MODELS], (), SAMPLES))
    with TestClient(build(services, with_pages=False), base_url=HERE) as client:
        yield client
    services.jobs.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a workbench of such networks listens."""
    with workbench(models=[*MODELS, *(named(name) for name in NAMES if name not in SHUT)]) as server:
        yield server.address


def ask(client: TestClient, model: str, lens: str = "grad-cam", wait: int = 30, **more: Any) -> Any:
    body = {"lens": lens, "model": model, "image": "sample:shapes/3", **more}
    return client.post(f"{API_PREFIX}/run", params={"wait": wait}, json=body)


@pytest.mark.parametrize("name", SAYS)
def test_api_reports_the_error_and_the_server_goes_on(client: TestClient, name: str) -> None:
    for _ in range(4):  # more often than there are workers
        response = ask(client, named(name), "saliency" if name == "backward" else "grad-cam")  # which stops before it
    assert response.status_code == STATUS.get(name, 500)
    assert SAYS[name] in response.json()["error"]
    assert "\n" not in response.json()["error"]
    assert ask(client, MODELS[0]).json()["state"] == "done"


def test_error_in_the_backward_pass_of_a_drawing_is_reported(client: TestClient) -> None:
    request: dict[str, Any] = {
        "lens": "activation-maximization",
        "image": "",
        "unit": ["conv2[1]"],
        "parameters": {"steps": 16},
    }
    for name in ("backward", "raises", "leaves"):
        response = ask(client, named(name), **request)
        assert response.status_code == 500
        assert SAYS[name] in response.json()["error"]


def test_layers_of_an_unloadable_model_are_refused(client: TestClient) -> None:
    for name in SHUT:
        response = client.get(f"{API_PREFIX}/layers", params={"model": named(name)})
        assert response.status_code == 422
        assert SAYS[name] in response.json()["error"]


def test_hanging_network_does_not_block_others(client: TestClient) -> None:
    slow = [ask(client, named("hangs"), lens, wait=0).json() for lens in ("grad-cam", "saliency", "lrp", "predict")]
    state = lambda job: client.get(f"{API_PREFIX}/jobs/{job['id']}").json()["state"]  # noqa: E731
    assert hanging.BEGUN.wait(TIMEOUT)
    assert state(slow[0]) == "running"
    other = ask(client, MODELS[0], "saliency", wait=60).json()
    assert other["state"] == "done"  # which it could not be if it waited: nothing ends the others yet
    assert state(slow[0]) == "running"
    for job in slow:
        client.delete(f"{API_PREFIX}/jobs/{job['id']}")
    hanging.ENDED.set()


PAGES = {
    "/look": {"lens": "grad-cam"},
    "/inside": {"layer": "conv2", "unit": "conv2[1]"},
    "/compare": {"lens": "grad-cam"},
    "/learned": {"lens": "activation-maximization", "unit": "conv2[1]", "p.steps": "16"},
}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_shows_the_error(visit: Any, path: str) -> None:
    for name in ("leaves", "dictionary", "broken") if path == "/look" else ("broken",):
        page = visit(f"{path}?{urlencode({'model': named(name), 'image': 'sample:shapes/3', **PAGES[path]})}")
        if path == "/learned":
            page.get_by_role("button", name="Draw", exact=True).click()
        page.get_by_text(SAYS[name]).first.wait_for()
        page.close()
    page = visit(f"{path}?{urlencode({'model': MODELS[0], 'image': 'sample:shapes/3'})}")
    page.wait_for_selector("figure, .maps button, .empty")


def test_refused_lens_suggests_alternatives(visit: Any) -> None:
    link = {"model": named("backward"), "image": "sample:shapes/3", "lens": "saliency"}
    page = visit(f"/compare?{urlencode(link)}")
    page.get_by_text(SAYS["backward"]).first.wait_for()
    page.get_by_text("Lenses that fit this network").first.wait_for()
