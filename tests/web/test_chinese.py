"""The workbench in Chinese: no page has English left beside addresses, labels, names of methods and commands."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

import convscope as cs
from convscope import render
from convscope.catalogue import lenses
from convscope.spec import LensSpec
from convscope.values import Arithmetic, Kernels, Pictures, Value
from convscope.web.i18n import catalogue, say
from tests.looking import look
from tests.web.browsing import address, visit  # noqa: F401

MODEL, IMAGE = "bundled:shapes", "sample:shapes/3"

TERMS = frozenset(
    re.findall(
        r"\w+",
        """ConvScope English WebSocket FLOPs softmax flat plus box sigmoid tanh log float bfloat png npz json PNG NPZ
        conv batch norm relu add linear max pool shapes digits sample bundled""",
    )
)
"""What Chinese writes in Latin letters too, operations as the network calls them, and parts of addresses."""

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
"""All that a page says, to those who see it and to those who do not; not its commands, which are code."""


SMALL, DIGIT = "bundled:digits", "sample:digits/3"
"""What all lenses look at, quickly."""


@pytest.fixture(scope="module")
def model() -> cs.Model:
    return cs.load(MODEL)


@pytest.fixture(scope="module")
def terms(model: cs.Model) -> frozenset[str]:
    """Words that are no English: those of the network, names of methods, and what the Chinese texts write so."""
    found = {word for spec in lenses() for word in words(spec.title) if say(spec.title, "zh") == spec.title}
    for text in [*(model.labels or ()), *(name for name, _ in model.module.named_modules()), "features"]:
        found |= set(words(str(text)))
    found |= {word for module in model.module.modules() for word in words(type(module).__name__)}
    written = (word for text in catalogue("zh").values() for word in words(re.sub(r"\{.*?\}", "", text)))
    return TERMS | found | {word for word in written if not word.islower()}


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]{3,}", text)


def english(texts: list[str], terms: frozenset[str]) -> list[str]:
    """The texts in which English is left: words of it, or its marks beside Chinese."""
    return [
        text for text in texts if not set(words(text)) <= terms or re.search(r"[一-鿿] ?[,;:?!]|[,;:?!] ?[一-鿿]", text)
    ]


def said(value: Value) -> Iterator[str]:
    """Everything a page may say of a value, in English."""
    yield from (note.text for note in render.notes(value))
    yield from (render.subject(value), render.alt(value), str(value.record.cost))
    if isinstance(value, Pictures):
        yield from value.words
    if isinstance(value, Kernels):
        yield from (layer.kind for layer in value.layers.values())
    if isinstance(value, Arithmetic):
        yield from (text for step in value.steps for text in (step.title, step.formula))


@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in lenses()])
def test_whatever_a_lens_notes_is_said_in_chinese(spec: LensSpec, terms: frozenset[str]) -> None:
    few = {"samples": 4, "steps": 2, "octaves": 1, "cells": 4, "segments": 6, "style": "sample:digits/4"}
    value = look(spec, cs.load(SMALL), DIGIT, **few)
    assert english([say(text, "zh") for text in said(value)], terms) == []


@pytest.mark.parametrize("unit", ["conv1[2]", "layer1.0.bn1[0]", "avgpool[3]", "fc[1]", "layer2.0.downsample.0[3]"])
def test_every_step_of_the_arithmetic_is_said_in_chinese(unit: str, model: cs.Model, terms: frozenset[str]) -> None:
    value = cs.step_through(model, IMAGE, unit=unit)
    assert english([say(text, "zh") for text in said(value)], terms) == []


PAGES = {
    "look": (f"/look?model={MODEL}&image={IMAGE}&lens=grad-cam,eigen-cam,lrp", ".card pre >> nth=2"),
    "inside": (f"/inside?model={MODEL}&image={IMAGE}&layer=layer1.0.conv1&unit=layer1.0.conv1[3]", ".crops img"),
    "learned": (f"/learned?model={MODEL}&image={IMAGE}&lens=deep-dream&p.steps=1&p.octaves=1", ".drawn .words"),
    "compare": (f"/compare?model={MODEL}&image={IMAGE}", ".apart .heat"),
}
"""A link to each page, and what is there once the page is whole."""


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_english_left(visit: Any, terms: frozenset[str], name: str) -> None:  # noqa: F811
    link, last = PAGES[name]
    page = visit(link, lang="zh")
    if name == "learned":
        page.click("button.main")
    page.wait_for_selector(last, state="attached")
    for summary in page.query_selector_all("details:not([open]) > summary"):
        summary.click()
    assert page.get_attribute("html", "lang") == "zh-CN"
    assert english(page.evaluate(READ), terms) == []


def test_the_three_tabs_of_a_module_are_chinese(visit: Any, terms: frozenset[str]) -> None:  # noqa: F811
    page = visit(PAGES["inside"][0], lang="zh")
    for tab, shown in (("卷积核", '.maps img[alt*="卷积核"]'), ("分布", ".module svg.ridge")):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_selector(shown)
        assert english(page.evaluate(READ), terms) == []
