"""The picture of gates: how far each is open, and what the score of a class owes to it."""

import torch

from convscope import render
from convscope.render.canvas import Canvas
from convscope.values import GateMaps


def test_effects_have_a_scale_for_each_layer_and_a_line_that_says_how_to_read_them(monkeypatch: object) -> None:
    texts: list[str] = []
    written = Canvas.text
    value = GateMaps(
        gates={"a": torch.tensor([0.2, 0.9]), "b": torch.rand(4, 4)},
        effects={"a": torch.tensor([-0.5, 0.25]), "b": torch.full((4, 4), 2.0)},
        over={"a": "channels", "b": "places"},
        functions={"a": "sigmoid", "b": "sigmoid"},
        target="star",
    )

    def text(self: Canvas, x: float, y: float, words: str, **options: object) -> object:
        texts.append(words)
        return written(self, x, y, words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Canvas, "text", text)  # type: ignore[attr-defined]
    render.picture(value)
    together = " ".join(texts)
    assert "gate × gradient for star, from −0.5 to 0.5" in together
    assert "gate × gradient for star, from −2 to 2" in together
    assert "what the score of star owes to that gate being open" in together
    assert {"against", "for"} <= set(texts)
