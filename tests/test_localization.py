"""`scripts/localization.py`: it counts peaks on what counts, and the README of the weights holds what it prints."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.samples import sequence
from convscope.samples.bundled import WEIGHTS
from scripts import localization

MESSAGES = 6


def test_the_maps_of_messages_peak_at_the_words_that_count() -> None:
    rows = {row.lens: row for row in localization.messages(MESSAGES)}
    assert list(rows) == ["integrated-gradients, steps=16", "gradient-x-input", "occlusion"]
    assert {row.maps for row in rows.values()} == {MESSAGES}
    assert all(row.hits >= MESSAGES - 1 for row in rows.values())
    share = f"{rows['occlusion'].hits / MESSAGES:.0%}"
    assert str(rows["occlusion"]) == f"| sequence | occlusion | at the two words that count | {MESSAGES} | {share} |"


def test_a_peak_elsewhere_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(model: cs.Model, tokens: Any) -> list[Any]:
        maps: Any = cs.gradient_x_input(model, tokens)
        return [
            replace(value, values=torch.from_numpy(~sequence.message(seed).mask).float())
            for seed, value in enumerate(maps)
        ]

    monkeypatch.setattr(cs, "occlusion", elsewhere, raising=False)
    assert list(localization.messages(MESSAGES))[-1].hits == 0


def test_boxes_and_distances_are_those_of_the_peak() -> None:
    value = cs.gradient_x_input(cs.load("bundled:digits"), "sample:digits/3")
    peak = replace(value, values=torch.zeros(64, 64).index_put((torch.tensor(5), torch.tensor(9)), torch.tensor(1.0)))
    assert localization.in_box(peak, (9.0, 5.0, 10.0, 6.0))
    assert not localization.in_box(peak, (10.0, 5.0, 12.0, 6.0))
    assert not localization.in_box(peak, (9.0, 6.0, 10.0, 8.0))
    mask = np.zeros((4, 4), bool)
    mask[1, 1] = True
    assert localization.distance_to(mask, 3 * 4 + 1, (2.0, 1.5)) == pytest.approx(4)


def test_the_readme_of_the_weights_holds_the_table() -> None:
    readme = (WEIGHTS / "README.md").read_text("utf-8")
    assert "python scripts/localization.py" in readme
    rows = [line.split("|")[1].strip() for line in readme.splitlines() if line.rstrip().endswith("% |")]
    assert list(dict.fromkeys(row for row in rows if row in localization.PARTS)) == list(localization.PARTS)
