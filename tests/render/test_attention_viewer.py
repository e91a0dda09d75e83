"""The viewer of attention weights: what it holds for the browser, and what of a large network it leaves out."""

import base64
import html
import json
import re
from typing import Any

import numpy as np
import pytest

import convscope as cs
from convscope.render import attention_viewer
from convscope.render.attention_viewer import viewer_html
from convscope.values import AttentionMaps


@pytest.fixture(scope="module")
def weights() -> AttentionMaps:
    """Every layer of a network with three, with their matrices."""
    return cs.attention(cs.load("bundled:pairs"), "sample:pairs/1", patch="2x6", matrix=True)


def state_of(page: str) -> dict[str, Any]:
    attribute = re.search(r'data-state="([^"]*)"', page)
    assert attribute is not None
    state: dict[str, Any] = json.loads(html.unescape(attribute[1]))
    return state


def test_the_browser_gets_the_weights_between_all_tokens(weights: AttentionMaps) -> None:
    by_class_token = cs.attention(cs.load("bundled:pairs"), "sample:pairs/1", direction="to", matrix=True)
    page = viewer_html(weights, chosen=("blocks.1.attn", 2))
    state = state_of(page)
    assert (state["layer"], state["head"], state["grid"], state["place"]) == (1, 2, [8, 8], [2.5 / 8, 6.5 / 8])
    for layer, matrix in zip(state["layers"], weights.matrices.values(), strict=True):
        levels = np.frombuffer(base64.b64decode(layer["matrix"]), "<u2").reshape(layer["heads"], 65, layer["tokens"])
        np.testing.assert_allclose(levels * layer["peak"] / 65535, matrix, atol=layer["peak"] / 65535)
    assert [layer["answer"] for layer in state_of(viewer_html(by_class_token))["layers"]] == [0, 0, 0]
    assert page.count('<button type="button" data-layer') == 12
    assert "blocks.1.attn, head 2: what patch 2x6 attends to" in page


def test_the_head_with_the_largest_weight_is_enlarged_at_first(weights: AttentionMaps) -> None:
    state = state_of(viewer_html(weights))
    peaks = np.stack([np.asarray(maps).reshape(4, -1).max(1) for maps in weights.maps.values()])
    assert (state["layer"], state["head"]) == np.unravel_index(peaks.argmax(), peaks.shape)
    assert (state["layer"], state["head"]) != (0, 0)


def test_matrices_beyond_the_limit_of_a_page_are_left_out(
    weights: AttentionMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_viewer, "MAX_NUMBERS", 4 * 65 * 65)
    assert ["matrix" in layer for layer in state_of(viewer_html(weights))["layers"]] == [True, False, False]
