"""Networks that raise, hang or answer nonsense: one sentence on every page, 500 by the API, and others go on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient

from convscope.web.api import AT
from convscope.web.app import MODELS, SAMPLES, build
from convscope.web.assets import Library
from convscope.web.services import Bench
from tests.patience import wait_until
from tests.web import faulty, hanging
from tests.web.browsing import visit, workbench  # noqa: F401
from tests.web.conftest import HERE

pytest.importorskip("nicegui")

FILE = Path(faulty.__file__)
NAMES = ("raises", "tires", "backward", "hangs", "dictionary", "not_numbers", "unbuildable", "leaves", "ends", "broken")
RAISED = faulty.SAID
SAYS = {
    "raises": RAISED,
    "tires": RAISED,
    "backward": f"on the way back: {RAISED}",
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
    bench = Bench(Library([*map(named, NAMES), *MODELS], (), SAMPLES))
    with TestClient(build(bench, with_pages=False), base_url=HERE) as made:
        yield made
    bench.jobs.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a workbench of such networks listens."""
    with workbench(models=[*MODELS, *(named(one) for one in NAMES if one not in SHUT)]) as server:
        yield server.address


def ask(client: TestClient, model: str, lens: str = "grad-cam", wait: int = 30, **more: Any) -> Any:
    asked = {"lens": lens, "model": model, "image": "sample:shapes/3", **more}
    return client.post(f"{AT}/run", params={"wait": wait}, json=asked)


@pytest.mark.parametrize("name", SAYS)
def test_the_api_says_what_went_wrong_and_others_go_on(client: TestClient, name: str) -> None:
    for _ in range(4):  # more often than there are workers
        told = ask(client, named(name), "saliency" if name == "backward" else "grad-cam")  # which stops before it
    assert told.status_code == STATUS.get(name, 500)
    assert SAYS[name] in told.json()["error"]
    assert "\n" not in told.json()["error"]
    assert ask(client, MODELS[0]).json()["state"] == "done"


def test_a_drawing_whose_network_raises_on_the_way_back_says_so(client: TestClient) -> None:
    drawn = {"lens": "activation-maximization", "image": "", "unit": ["conv2[1]"], "parameters": {"steps": 16}}
    for name in ("backward", "raises", "leaves"):
        told = ask(client, named(name), **drawn)
        assert told.status_code == 500
        assert SAYS[name] in told.json()["error"]


def test_its_layers_are_refused_in_one_sentence_where_it_cannot_be_opened(client: TestClient) -> None:
    for name in SHUT:
        told = client.get(f"{AT}/layers", params={"model": named(name)})
        assert told.status_code == 422
        assert SAYS[name] in told.json()["error"]


def test_a_network_that_hangs_keeps_nobody_else_waiting(client: TestClient) -> None:
    slow = [ask(client, named("hangs"), lens, wait=0).json() for lens in ("grad-cam", "saliency", "lrp", "predict")]
    state = lambda job: client.get(f"{AT}/jobs/{job['id']}").json()["state"]  # noqa: E731
    wait_until(lambda: state(slow[0]) == "running")
    other = ask(client, MODELS[0], "saliency", wait=0).json()
    wait_until(lambda: state(other) == "done")  # which it could not be if it waited: nothing ends the others yet
    assert state(slow[0]) == "running"
    for job in slow:
        client.delete(f"{AT}/jobs/{job['id']}")
    hanging.ENDED.set()


PAGES = {
    "/look": {"lens": "grad-cam"},
    "/inside": {"layer": "conv2", "unit": "conv2[1]"},
    "/compare": {"lens": "grad-cam"},
    "/learned": {"lens": "activation-maximization", "unit": "conv2[1]", "p.steps": "16"},
}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_why_in_one_sentence(visit: Any, path: str) -> None:  # noqa: F811
    for name in ("leaves", "dictionary", "broken"):
        page = visit(f"{path}?{urlencode({'model': named(name), 'image': 'sample:shapes/3', **PAGES[path]})}")
        if path == "/learned":
            page.get_by_role("button", name="Draw", exact=True).click()
        page.get_by_text(SAYS[name]).first.wait_for()
        page.close()
    page = visit(f"{path}?{urlencode({'model': MODELS[0], 'image': 'sample:shapes/3'})}")
    page.wait_for_selector("figure, .maps button, .empty")


def test_a_lens_that_fits_no_network_at_hand_says_which_do(visit: Any) -> None:  # noqa: F811
    link = {"model": named("backward"), "image": "sample:shapes/3", "lens": "saliency"}
    page = visit(f"/compare?{urlencode(link)}")
    page.get_by_text(SAYS["backward"]).first.wait_for()
    page.get_by_text("Lenses that fit this network").first.wait_for()
