"""The panel of a number's arithmetic: window × kernel = products per channel, their sum, and the following steps."""

from html import escape

import numpy as np
from nicegui import ui

from convscope.render.cells import short_number
from convscope.render.tiles import cell_colours
from convscope.values import Arithmetic
from convscope.web.frame.page_context import PageContext
from convscope.web.panels import panel, show_picture

_MAX_CHANNELS, _MAX_WINDOW = 3, 7
"""Input channels that are written out, those that contribute most; the largest window that is written as a table."""


@panel(Arithmetic)
def show(value: Arithmetic, context: PageContext) -> None:
    """The steps as text that can be selected and copied, with the operands of a convolution as tables."""
    if value.workings:
        show_picture(value, context)
        return
    ui.html(
        f'<p class="result" data-value="{value.value!r}"><b>{escape(value.unit)} = {value.value:.6g}</b></p>',
        sanitize=False,
    )
    ui.html(_operand_tables(value, context) + _step_list(value, context), sanitize=False)


def _step_list(value: Arithmetic, context: PageContext) -> str:
    rows = ""
    for step in value.steps:
        title = context.tr("then {step}", step=step.title) if step.follows else context.tr(step.title)
        network_value = ""
        if step.network is not None:
            colon = context.tr(": ")
            network_text = f"{context.tr('network output')}{colon}{step.network:.7g}"
            comparison = escape(f"{network_text} · {context.tr('recomputed')}{colon}{step.value:.7g}")
            network_value = f'<span class="network" data-network="{step.network!r}">{comparison}</span>'
        rows += f"<li><b>{escape(title)}</b><br>{escape(context.tr(step.formula))}{network_value}</li>"
    return f'<ol class="steps">{rows}</ol>'


def _operand_tables(value: Arithmetic, context: PageContext) -> str:
    """Tables of window, kernel and products for the input channels that contribute most."""
    numbers = {name: np.asarray(array, np.float32) for name, array in value.numbers.items()}
    if "kernel" not in numbers or numbers["window"].ndim != 3 or max(numbers["window"].shape[1:]) > _MAX_WINDOW:
        return ""
    contributions = numbers["contributions"]
    first = int(value.steps[0].facts.get("first channel", 0))
    strongest = np.argsort(-np.abs(contributions), kind="stable")[:_MAX_CHANNELS]
    limits = {name: float(np.abs(numbers[name][strongest]).max()) for name in ("window", "kernel", "products")}
    outside = ~numbers["inside"].astype(bool)
    cell = {1: 34, 2: 34, 3: 30, 4: 28, 5: 24}.get(numbers["window"].shape[-1], 20)
    tables = ""
    for index, channel in enumerate(strongest):
        parts = [
            _table(
                numbers[name][channel],
                limits[name],
                outside if name == "window" else None,
                context.tr("padding"),
                context.tr(words) if not index else "",
            )
            for name, words in (("window", "input"), ("kernel", "kernel"), ("products", "products"))
        ]
        text = context.tr("channel {number}", number=first + int(channel))
        heading = f'<span class="of">{escape(text)}</span>'
        result = f"<b>→ {escape(short_number(float(contributions[channel])))}</b>"
        tables += f'<div class="sum">{heading}{parts[0]}×{parts[1]}={parts[2]}{result}</div>'
    if len(contributions) > len(strongest):
        rest = short_number(float(contributions.sum() - contributions[strongest].sum()))
        text = context.tr(
            "{few} of {all} input channels, those that contribute most; the others add up to {rest}",
            few=len(strongest),
            all=len(contributions),
            rest=rest,
        )
        tables += f'<p class="caption">{escape(text)}</p>'
    return f'<div class="sums" style="--cell:{cell}px">{tables}</div>'


def _table(values: np.ndarray, limit: float, outside: np.ndarray | None, outside_label: str, caption: str) -> str:
    """A matrix as a table with coloured cells; cells of ``outside`` are empty and titled ``outside_label``."""
    colours = cell_colours(values, limit)
    rows = ""
    for r, row in enumerate(values.tolist()):
        cells = ""
        for c, number in enumerate(row):
            if outside is not None and outside[r, c]:
                cells += f'<td class="pad" title="{escape(outside_label)}"></td>'
            else:
                background, foreground = colours[r][c]
                exact = f"{number:.4g}"
                style = f"background:{background};color:{foreground}"
                cells += f'<td style="{style}" title="{exact}">{short_number(number)}</td>'
        rows += f"<tr>{cells}</tr>"
    heading = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{heading}{rows}</table>"
