"""For every lens, the link that the API returns opens a page that shows the same view."""

import json
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

import convscope as cs
from convscope.catalogue import find, lenses
from convscope.render import format_number
from convscope.render.scale import scale_of
from convscope.web.api import API_PREFIX
from convscope.web.frame.lens_page import page_link, page_of
from convscope.web.pages.inside.layer_column import TABS
from convscope.web.pages.inside.page import LENS_TABS
from convscope.web.pages.learned import page as learned
from convscope.web.pages.look import page as look
from convscope.web.requests.url_state import View
from tests.marks import one_in
from tests.waiting import TIMEOUT

pytest.importorskip("nicegui")

MODEL, IMAGE = "bundled:shapes", "sample:shapes/7"
GIVEN: dict[str, Any] = {
    "image": IMAGE, "images": "sample:shapes/0-9", "style": "sample:shapes/1", "guide": "sample:shapes/2",
    "target": "star", "layer": ["layer2"], "unit": ["layer2.0.conv1[3]"],
}  # fmt: skip
ON_LOOK = ("receptive-field", "parameter-gradients", "convolve", "neuron-conductance", "similarity")
"""Lenses that are shown on cards although they are about a network or its layers."""
ON_INSIDE = ("attention",)
"""Lenses of other families that have a tab on Inside."""
FEW = {"steps": 3, "samples": 4}


def request_for(lens: str) -> dict[str, Any]:
    """A request for a lens with all its inputs, and few repetitions."""
    spec = find(lens)
    own = {name: GIVEN[name] for name in spec.inputs if name in GIVEN}
    few = {name: count for name, count in FEW.items() if name in spec.options}
    return {"lens": lens, "model": MODEL, "parameters": few, **own}


def view_of(request: dict[str, Any]) -> View:
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in request.items()}
    return View(**fields)


def sent(address: str, link: str) -> str:
    with urlopen(f"{address}{link}", timeout=TIMEOUT) as page:
        assert page.status == 200
        return unescape(page.read().decode())


@pytest.mark.parametrize("lens", one_in(3, (spec.command for spec in lenses())))
def test_link_of_every_lens_opens_a_page_that_shows_it(address: str, lens: str) -> None:
    view, spec = view_of(request_for(lens)), find(lens)
    link = page_link(view)
    path, linked = urlsplit(link).path, View.parse(urlsplit(link).query)
    expected = {"predict": {"lens": "", "parameters": {}}}.get(lens, {"tab": LENS_TABS.get(lens, "")})
    assert linked == view.replace(parameters={name: str(value) for name, value in view.parameters.items()}).replace(
        **expected
    )
    elsewhere = {"learned": "/learned", "structure": "/inside", "activations": "/inside"}
    by_family = "/look" if lens in ON_LOOK else elsewhere.get(spec.family, "/look")
    assert path == ("/inside" if lens in ON_INSIDE else by_family)
    page = sent(address, link)
    assert "is not on this page" not in page
    assert "No lens on this page has" not in page
    if path == "/inside":
        assert linked.tab in ("", *TABS)
        assert f'"model-value":"{linked.tab or "maps"}"' in page
    elif lens != "predict":
        assert spec.asks in page
        assert lens in (learned.shown_lenses() if path == "/learned" else look.known_lenses())


@pytest.mark.parametrize("family", ["learned", "cam", "a new one"])
def test_page_of_a_new_lens_follows_from_its_declaration(family: str) -> None:
    drawing = replace(find("caricature"), name="new", family=family)
    of_a_unit = replace(find("deconv-unit"), name="new", family=family)
    of_a_score = replace(find("grad-cam"), name="new", family=family)
    numbers = replace(find("parameter-gradients"), name="new", family=family)
    assert [page_of(spec).path for spec in (drawing, of_a_unit)] == ["/learned"] * 2
    assert [page_of(spec).path for spec in (of_a_score, numbers)] == ["/look"] * 2


def link_of(address: str, **request: Any) -> str:
    """The link that the API returns for a finished request."""
    body = json.dumps(request).encode()
    post = Request(f"{address}{API_PREFIX}/run?wait=60", body, {"content-type": "application/json"})
    for _ in range(TIMEOUT // 60):  # an equal request joins the job that is still running
        with urlopen(post, timeout=TIMEOUT) as answer:
            job = json.loads(answer.read())
        if job["state"] not in ("waiting", "running"):
            break
    assert job["state"] == "done", job
    link: str = job["link"]
    return link


def test_map_with_target_layer_and_parameters_is_shown_on_look(visit: Any, address: str) -> None:
    page = visit(
        link_of(address, lens="grad-cam", image=IMAGE, target="star", layer=["layer2"], parameters={"relu": True})
    )
    page.wait_for_selector(".card .heat")
    value = cs.grad_cam(cs.load(MODEL), IMAGE, target="star", layer="layer2", relu=True)
    assert page.locator("article.card").count() == 1
    assert "star (3), at layer2" in page.locator("article.card").inner_text()
    page.get_by_role("heading", name="What supports “star”?").wait_for()
    assert page.locator(".card .scale").inner_text().count(format_number(scale_of([value]).limit)) == 1


@pytest.mark.parametrize("lens", ON_LOOK)
def test_other_lenses_are_cards_on_look(visit: Any, address: str, lens: str) -> None:
    page = visit(link_of(address, **request_for(lens)))
    page.wait_for_function("() => document.querySelector('article.card .picture:not(.busy) :not(.empty-map)')")
    card = page.locator("article.card")
    assert card.count() == 1
    assert card.get_attribute("aria-label") == find(lens).title
    assert page.locator(".refusal").count() == 0


def test_lenses_of_layers_and_units_are_shown_on_inside(visit: Any, address: str) -> None:
    page = visit(link_of(address, lens="kernels", layer=["layer1.0.conv1"], parameters={"most": 3}))
    page.wait_for_selector('.maps img[alt^="Kernel"]')
    assert page.get_by_role("tab", name="Kernels").get_attribute("aria-selected") == "true"
    assert page.locator(".maps [data-unit]").count() == 3
    page = visit(link_of(address, lens="activations", layer=["layer1"], images="sample:shapes/0-9"))
    page.wait_for_selector(".module svg.histogram")
    page.locator(".module .q-select", has_text="sample:shapes/0-9").wait_for()
    page = visit(link_of(address, lens="step-through", image=IMAGE, unit=["layer2.0.conv1[3, 5, 5]"]))
    page.wait_for_selector('.unit .result b:has-text("layer2.0.conv1[3, 5, 5]")')
    page = visit(
        link_of(address, lens="top-inputs", images="sample:shapes/0-9", unit=["layer1[3]"], parameters={"k": 2})
    )
    page.wait_for_selector(".unit .crops figure")
    assert page.locator(".unit .crops figure").count() == 2


def test_optimized_pictures_are_shown_on_learned(visit: Any, address: str) -> None:
    page = visit(link_of(address, lens="activation-maximization", unit=["layer2[15]"], parameters={"steps": 4}))
    page.wait_for_selector("article.card")
    assert "layer2[15]" in page.locator("article.card h2").inner_text()
