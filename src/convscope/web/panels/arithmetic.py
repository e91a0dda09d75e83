"""One number's arithmetic: window × kernel = products, channel by channel, their sum, and what follows."""

import html

import numpy as np
from nicegui import ui

from convscope.render.cells import short_number
from convscope.render.tiles import cell_colours
from convscope.values import Arithmetic
from convscope.web.page_layout import Place
from convscope.web.panels import panel, show_picture

_CHANNELS, _CELLS = 3, 7
"""Input channels written out, those that contribute most; windows larger than this are left to the picture."""


@panel(Arithmetic)
def show(value: Arithmetic, place: Place) -> None:
    """The steps as text that can be read and copied, with the operands of a convolution as tables."""
    if value.workings:
        show_picture(value, place)
        return
    ui.html(
        f'<p class="result" data-value="{value.value!r}"><b>{html.escape(value.unit)} = {value.value:.6g}</b></p>',
        sanitize=False,
    )
    ui.html(_operands(value, place) + _steps(value, place), sanitize=False)


def _steps(value: Arithmetic, place: Place) -> str:
    rows = ""
    for step in value.steps:
        title = place.say("then {step}", step=step.title) if step.follows else place.say(step.title)
        own = ""
        if step.network is not None:
            colon = place.say(": ")
            given = f"{place.say('the network’s own number')}{colon}{step.network:.7g}"
            told = html.escape(f"{given} · {place.say('worked out')}{colon}{step.value:.7g}")
            own = f'<span class="network" data-network="{step.network!r}">{told}</span>'
        rows += f"<li><b>{html.escape(title)}</b><br>{html.escape(place.say(step.formula))}{own}</li>"
    return f'<ol class="steps">{rows}</ol>'


def _operands(value: Arithmetic, place: Place) -> str:
    """Window, kernel and products of the input channels that contribute most."""
    numbers = {name: np.asarray(found, np.float32) for name, found in value.numbers.items()}
    if "kernel" not in numbers or numbers["window"].ndim != 3 or max(numbers["window"].shape[1:]) > _CELLS:
        return ""
    contributions = numbers["contributions"]
    first = int(value.steps[0].facts.get("first channel", 0))
    strongest = np.argsort(-np.abs(contributions), kind="stable")[:_CHANNELS]
    limits = {name: float(np.abs(numbers[name][strongest]).max()) for name in ("window", "kernel", "products")}
    outside = ~numbers["inside"].astype(bool)
    cell = {1: 34, 2: 34, 3: 30, 4: 28, 5: 24}.get(numbers["window"].shape[-1], 20)
    found = ""
    for order, channel in enumerate(strongest):
        parts = [
            _table(
                numbers[name][channel],
                limits[name],
                outside if name == "window" else None,
                place.say("padding"),
                place.say(words) if not order else "",
            )
            for name, words in (("window", "input"), ("kernel", "kernel"), ("products", "products"))
        ]
        said = place.say("channel {number}", number=first + int(channel))
        head = f'<span class="of">{html.escape(said)}</span>'
        total = f"<b>→ {html.escape(short_number(float(contributions[channel])))}</b>"
        found += f'<div class="sum">{head}{parts[0]}×{parts[1]}={parts[2]}{total}</div>'
    if len(contributions) > len(strongest):
        few, every = len(strongest), len(contributions)
        rest = short_number(float(contributions.sum() - contributions[strongest].sum()))
        said = place.say(
            "{few} of {all} input channels, those that contribute most; the others add up to {rest}",
            few=few,
            all=every,
            rest=rest,
        )
        found += f'<p class="caption">{html.escape(said)}</p>'
    return f'<div class="sums" style="--cell:{cell}px">{found}</div>'


def _table(values: np.ndarray, limit: float, outside: np.ndarray | None, beyond: str, caption: str) -> str:
    """A matrix of numbers on their colours; ``beyond`` is what a place is called that lies ``outside``."""
    colours = cell_colours(values, limit)
    rows = ""
    for r, row in enumerate(values.tolist()):
        cells = ""
        for c, one in enumerate(row):
            if outside is not None and outside[r, c]:
                cells += f'<td class="pad" title="{html.escape(beyond)}"></td>'
            else:
                ground, ink = colours[r][c]
                number = f"{one:.4g}"
                cells += f'<td style="background:{ground};color:{ink}" title="{number}">{short_number(one)}</td>'
        rows += f"<tr>{cells}</tr>"
    head = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{head}{rows}</table>"
