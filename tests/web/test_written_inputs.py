"""Several inputs, rows and texts in a request: the numbers of Python, and nothing read that was not offered."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import numpy as np
import pytest
from fastapi.testclient import TestClient

import convscope as cs
from convscope.errors import ConvScopeError
from convscope.values import JointAttribution
from convscope.web.api import API_PREFIX
from convscope.web.pages.inside.evidence_tab import EvidenceTab
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.run_request import run_lens
from convscope.web.requests.services import Services
from convscope.web.requests.url_state import View
from convscope.web.requests.written_inputs import named_keys
from convscope.web.server.app import build
from tests import networks_of_several_inputs
from tests.web.conftest import HERE

pytest.importorskip("nicegui")

SKIN = f"{Path(networks_of_several_inputs.__file__)}:skin"
SAMPLE = "photo=sample:shapes/7 table=text:71,9.5,1,80"


@pytest.fixture(scope="module")
def library() -> Library:
    library = Library([SKIN, "bundled:sequence", "bundled:shapes"], [], ["sample:shapes/7", "sample:sequence/1"])
    for address in library.addresses:
        library.model(address)
    return library


@pytest.fixture(scope="module")
def client(library: Library) -> Iterator[TestClient]:
    services = Services(library)
    with TestClient(build(services, with_pages=False), base_url=HERE) as client:
        yield client
    services.jobs.close()


def test_api_explains_several_inputs_together(client: TestClient, tmp_path: Path) -> None:
    body = {"lens": "integrated-gradients", "model": SKIN, "image": SAMPLE}
    reply = client.post(f"{API_PREFIX}/run", params={"wait": 30, "give": "npz"}, json=body)
    assert reply.status_code == 200, reply.text
    (tmp_path / "maps.npz").write_bytes(reply.content)
    shown = JointAttribution.load(tmp_path / "maps.npz")
    sample = {"photo": "sample:shapes/7", "table": [71, 9.5, 1, 80]}
    own: Any = cs.integrated_gradients(cs.load(SKIN), sample)
    assert shown.totals == pytest.approx(own.totals, rel=1e-4, abs=1e-6)
    channels: Any = shown["table"].channels
    np.testing.assert_allclose(channels, own["table"].channels, rtol=1e-4, atol=1e-6)


def test_api_takes_a_text(client: TestClient) -> None:
    body = {"lens": "predict", "model": "bundled:sequence", "image": "text:we drive past left now right and wait"}
    reply = client.post(f"{API_PREFIX}/run", params={"wait": 30}, json=body).json()
    assert client.get(reply["results"]["json"]).json()["labels"][0] == "right"


def test_the_address_of_a_network_names_no_inputs() -> None:
    assert named_keys("bundled:shapes?weights=none") == {}
    assert named_keys(SAMPLE) == {"photo": "sample:shapes/7", "table": "text:71,9.5,1,80"}


REFUSED = {
    "photo=/etc/passwd table=text:1,2,3,4": "no image '/etc/passwd' here",
    "photo=sample:shapes/7": "the input 'table' is missing",
    "photo=sample:shapes/7 table=text:1,2,3,4 age=text:5": "no input 'age'",
    "photo=sample:shapes/7 table=text:row.npy": "'row.npy' is no number: write the row as numbers with commas",
    "sample:shapes/7": "this network takes several inputs: name the key of each, photo=KEY table=text:…",
}


@pytest.mark.parametrize(("image", "message"), REFUSED.items())
def test_what_does_not_fit_is_refused(client: TestClient, image: str, message: str) -> None:
    body = {"lens": "predict", "model": SKIN, "image": image}
    reply = client.post(f"{API_PREFIX}/run", params={"wait": 30}, json=body)
    assert reply.status_code in (404, 422)
    assert message in reply.json()["error"]


def test_a_text_is_no_name_of_a_file(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("we drive past", "utf-8")
    body = {"lens": "predict", "model": "bundled:sequence", "image": f"text:{tmp_path / 'words.txt'}"}
    reply = client.post(f"{API_PREFIX}/run", params={"wait": 30}, json=body)
    assert reply.status_code == 422
    assert "is not in the vocabulary" in reply.json()["error"]
    reply = client.post(f"{API_PREFIX}/run", params={"wait": 30}, json={**body, "model": "bundled:shapes"})
    assert "is a text, which this network does not take" in reply.json()["error"]


def test_another_network_keeps_of_an_input_what_fits_it(library: Library) -> None:
    start = library.image_for(SKIN)
    assert start == "photo=sample:shapes/7 table=text:50,70,1,60"
    assert library.image_for(SKIN, SAMPLE) == SAMPLE
    assert library.image_for("bundled:shapes", SAMPLE) == "sample:shapes/7"
    assert library.image_for("bundled:sequence", SAMPLE) == "sample:sequence/1"
    assert library.image_for("bundled:sequence", "text:we drive") == "text:we drive"
    assert library.image_for("bundled:shapes", "text:we drive") == "sample:shapes/7"


def test_a_bundled_network_opens_with_its_own_samples() -> None:
    library = Library(["bundled:shapes", "bundled:pairs"], [], ["sample:shapes/0", "sample:pairs/0"])
    assert library.image_for("bundled:pairs") == "sample:pairs/0"
    assert library.image_for("bundled:shapes") == "sample:shapes/0"


def test_written_inputs_have_a_picture(library: Library) -> None:
    for key in (SAMPLE, "text:we drive past"):
        assert library.thumbnail(key).startswith(b"\x89PNG")
    with pytest.raises(ConvScopeError, match="no image"):
        library.thumbnail("photo=/etc/passwd table=text:1")


def test_a_lens_over_a_data_set_takes_a_typed_row() -> None:
    library = Library([f"{Path(networks_of_several_inputs.__file__)}:rows"], [], [])
    value = run_lens(library, View(lens="activations", image="text:71,9.5,1,80"))
    own = cs.activations(networks_of_several_inputs.rows(), [np.array([71, 9.5, 1, 80])])
    assert value["0"].mean == pytest.approx(own["0"].mean)


@pytest.mark.parametrize(("model", "image"), [("bundled:sequence", "text:we drive"), (SKIN, SAMPLE)])
def test_evidence_has_layers_for_written_inputs(library: Library, model: str, image: str) -> None:
    selection: Any = SimpleNamespace(library=library, view=View())
    assert EvidenceTab(selection, AsyncMock())._layers(model, image)
