"""The workbench in Chinese: no page shows English besides addresses, labels, names of methods and commands."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

import convscope as cs
from convscope import render
from convscope.catalogue import lenses
from convscope.spec import LensSpec
from convscope.values import Arithmetic, Kernels, Pictures, Value
from convscope.web.i18n import catalogue, translate
from convscope.web.server.app import MODELS, SAMPLES
from tests.gated_network import GATED
from tests.lens_calls import call_lens

MODEL, IMAGE = "bundled:shapes", "sample:shapes/3"

TERMS = frozenset(
    re.findall(
        r"\w+",
        """ConvScope English WebSocket FLOPs softmax flat plus box sigmoid tanh log float bfloat png npz json PNG NPZ
        conv batch norm relu add linear max pool""",
    )
)
"""Latin words in Chinese texts, and names of operations."""

READ = """() => {
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  while (walk.nextNode()) {
    const one = walk.currentNode, around = one.nodeType === 3 ? one.parentElement : one;
    if (around.closest("script, style, pre, datalist, .q-icon")) continue;
    if (one.nodeType === 3) found.push(one.textContent);
    else for (const name of ["alt", "title", "aria-label"]) found.push(one.getAttribute(name) || "");
  }
  return found.map((text) => text.replace(/\\s+/g, " ").trim()).filter(Boolean);
}"""
"""All texts of a page, including labels for screen readers, except code."""


SMALL, DIGIT = "bundled:digits", "sample:digits/3"
ATTENDING, PAIR = "bundled:pairs", "sample:pairs/2"
"""A small model and image on which all lenses are fast, and those for lenses that need attention."""


@pytest.fixture(scope="module")
def model() -> cs.Model:
    return cs.load(MODEL)


@pytest.fixture(scope="module")
def terms(model: cs.Model) -> frozenset[str]:
    """Latin words that are allowed: names of the network's parts, of methods, and those in the Chinese texts."""
    names = {word for spec in lenses() for word in words(spec.title) if translate(spec.title, "zh") == spec.title}
    for network in (model, cs.load(ATTENDING), cs.load(GATED)):
        for text in [*(network.labels or ()), *(name for name, _ in network.module.named_modules()), "features"]:
            names |= set(words(str(text)))
    names |= set(words(" ".join((*MODELS, *SAMPLES))))
    names |= {word for module in model.module.modules() for word in words(type(module).__name__)}
    written = (word for text in catalogue("zh").values() for word in words(re.sub(r"\{.*?\}", "", text)))
    return TERMS | names | {word for word in written if not word.islower()}


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]{3,}", text)


def english(texts: list[str], terms: frozenset[str]) -> list[str]:
    """The texts that contain English words, or English punctuation next to Chinese."""
    return [
        text for text in texts if not set(words(text)) <= terms or re.search(r"[一-鿿] ?[,;:?!]|[,;:?!] ?[一-鿿]", text)
    ]


def texts_of(value: Value) -> Iterator[str]:
    """All texts that a page may show for a value, in English."""
    yield from (note.text for note in render.notes(value))
    yield from (render.subject(value), render.alt(value), value.record.cost.describe())
    if isinstance(value, Pictures):
        yield from value.words
    if isinstance(value, Kernels):
        yield from (layer.kind for layer in value.layers.values())
    if isinstance(value, Arithmetic):
        yield from (text for step in value.steps for text in (step.title, step.formula))


@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in lenses()])
def test_notes_of_every_lens_are_translated(spec: LensSpec, terms: frozenset[str]) -> None:
    few: dict[str, Any] = {
        "samples": 4,
        "steps": 2,
        "octaves": 1,
        "cells": 4,
        "segments": 6,
        "style": "sample:digits/4",
    }
    network, image = (ATTENDING, PAIR) if "attention" in spec.needs else (SMALL, DIGIT)
    network = GATED if "gates" in spec.needs else network
    value = call_lens(spec, cs.load(network), image, **few)
    assert english([translate(text, "zh") for text in texts_of(value)], terms) == []


@pytest.mark.parametrize("unit", ["conv1[2]", "layer1.0.bn1[0]", "avgpool[3]", "fc[1]", "layer2.0.downsample.0[3]"])
def test_arithmetic_steps_are_translated(unit: str, model: cs.Model, terms: frozenset[str]) -> None:
    value = cs.step_through(model, IMAGE, unit=unit)
    assert english([translate(text, "zh") for text in texts_of(value)], terms) == []


PAGES = {
    "look": (f"/look?model={MODEL}&image={IMAGE}&lens=grad-cam,eigen-cam,lrp", ".card pre >> nth=2"),
    "inside": (f"/inside?model={MODEL}&image={IMAGE}&layer=layer1.0.conv1&unit=layer1.0.conv1[3]", ".crops img"),
    "learned": (f"/learned?model={MODEL}&image={IMAGE}&lens=deep-dream&p.steps=1&p.octaves=1", ".drawn .words"),
    "compare": (f"/compare?model={MODEL}&image={IMAGE}", ".apart .heat"),
}
"""A link to each page, and a selector that exists once the page is complete."""


@pytest.mark.parametrize("name", PAGES)
def test_no_page_shows_english(visit: Any, terms: frozenset[str], name: str) -> None:
    link, last = PAGES[name]
    page = visit(link, lang="zh")
    if name == "learned":
        page.click("button.main")
    page.wait_for_selector(last, state="attached")
    for summary in page.query_selector_all("details:not([open]) > summary"):
        summary.click()
    assert page.get_attribute("html", "lang") == "zh-CN"
    assert english(page.evaluate(READ), terms) == []


def test_tabs_of_a_layer_are_translated(visit: Any, terms: frozenset[str]) -> None:
    page = visit(PAGES["inside"][0], lang="zh")
    for tab, selector in (("卷积核", '.maps img[alt*="卷积核"]'), ("分布", ".module svg.histogram")):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_selector(selector)
        assert english(page.evaluate(READ), terms) == []
