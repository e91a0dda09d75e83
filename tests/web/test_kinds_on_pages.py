"""Look, Inside, Compare and the API with networks that take signals and volumes."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import convscope as cs
from convscope.values import Attribution
from convscope.web.api import API_PREFIX

pytest.importorskip("nicegui")


@pytest.mark.parametrize("kind", ["beats", "nodules", "sequence"])
def test_api_gives_the_numbers_of_python(client: TestClient, kind: str, tmp_path: Path) -> None:
    body = {"lens": "grad-cam", "model": f"bundled:{kind}", "image": f"sample:{kind}/1"}
    reply = client.post(f"{API_PREFIX}/run", params={"wait": 30, "give": "npz"}, json=body)
    assert reply.status_code == 200, reply.text
    (tmp_path / "map.npz").write_bytes(reply.content)
    own = cs.grad_cam(cs.load(f"bundled:{kind}"), f"sample:{kind}/1")
    np.testing.assert_allclose(Attribution.load(tmp_path / "map.npz").values, own.values, rtol=1e-4, atol=1e-6)


def test_api_takes_an_uploaded_signal_and_refuses_it_for_pictures(client: TestClient) -> None:
    file = io.BytesIO()
    np.save(file, cs.sample("beats/1").image)
    key = client.post(f"{API_PREFIX}/images", params={"name": "mine.npy"}, content=file.getvalue()).json()["image"]
    assert client.get(f"{API_PREFIX}/images/{key}").headers["content-type"] == "image/png"
    body = {"lens": "predict", "image": key}
    reply = client.post(
        f"{API_PREFIX}/run", params={"wait": 30, "give": "job"}, json={**body, "model": "bundled:beats"}
    ).json()
    result = client.get(reply["results"]["json"]).json()
    assert result["labels"][0] == "premature beat"
    assert result["record"]["input"] == "mine.npy"
    refused = client.post(f"{API_PREFIX}/run", params={"wait": 30}, json={**body, "model": "bundled:shapes"})
    assert refused.status_code == 422
    assert "is no picture, and this network takes pictures" in refused.json()["error"]


def choose_model(page: Any, name: str) -> None:
    page.locator(".q-select").filter(has_text="Model").first.click()
    page.get_by_role("option", name=name, exact=True).click()


def test_look_changes_the_inputs_with_the_model(visit: Any, tmp_path: Path) -> None:
    page = visit("/look?lens=grad-cam")
    page.wait_for_selector(".card .heat")
    choose_model(page, "bundled:beats")
    page.wait_for_selector(".card.wide figure.value img")
    page.wait_for_url("**image=sample%3Abeats%2F0**")
    page.wait_for_selector(".thumb[title='sample:beats/0'][aria-pressed=true]")
    assert page.locator(".thumb[title^='sample:shapes']").count() == 0
    assert "Warm stretches raise the score" in page.locator(".card").inner_text()
    np.savetxt(tmp_path / "own.csv", cs.sample("beats/2").image.T, delimiter=",")
    page.locator("input[type=file]").set_input_files(tmp_path / "own.csv")
    page.get_by_role("heading", name="Why did the model predict “raised ST segment”?").wait_for()
    page.wait_for_selector(".card.wide .picture:not(.busy) figure.value img")


def test_the_slice_viewer_opens_on_a_card(visit: Any) -> None:
    page = visit("/look?model=bundled:nodules&image=sample:nodules/1&lens=grad-cam")
    page.locator("[data-open-slices]").click()
    page.wait_for_selector(".slice-viewer[data-volumes='2'] canvas")


def test_inside_shows_the_slices_of_a_volume(visit: Any) -> None:
    link = "/inside?model=bundled:nodules&image=sample:nodules/1&layer=features.0&unit=features.0[3]"
    page = visit(link)
    page.wait_for_selector(".unit .pair .frame-box >> nth=1")
    page.get_by_text("features.0[3, 7, 8, 14] = ").wait_for()
    assert page.get_by_text("On this volume").is_visible()
    slider = page.locator(".unit [role=slider][aria-label='Slice 7 (0 to 11)']")
    slider.locator("[tabindex='0']").press("ArrowLeft")
    page.wait_for_url("**unit=features.0%5B3%2C+6%2C**")
    page.get_by_text("Slice 6 (0 to 11)").wait_for()
    page.get_by_text("features.0[3, 6, 8, 14] = ").wait_for()


def test_compare_replaces_networks_of_another_kind(visit: Any) -> None:
    page = visit("/compare?model=bundled:shapes&image=sample:shapes/7&lens=grad-cam")
    page.wait_for_selector(".card .heat")
    page.get_by_role("button", name="bundled:beats").click()
    page.wait_for_selector(".card.wide figure.value img >> nth=2")
    page.wait_for_url("**model=bundled%3Abeats**")
    assert page.locator(".chip[aria-pressed=true]").all_inner_texts() == ["bundled:beats"]
    page.wait_for_selector("section[aria-label=Difference] figure.value img")
