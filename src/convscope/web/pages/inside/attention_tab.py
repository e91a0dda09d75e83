"""The tab of a network that attends: the weights of all layers and heads, from or to the patch under the pointer."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from nicegui import ui

from convscope import render
from convscope.render.attention_viewer import MAX_NUMBERS, viewer_html
from convscope.values import AttentionMaps, Structure
from convscope.web.pages.inside.selection import Selection

ON_ATTENTION = "(e) => emit(e.detail)"
"""Emits the patch that was clicked, and the head that is enlarged."""


def attends(structure: Structure) -> bool:
    """Whether a network has operations that weigh tokens: a softmax over classes has two axes, one over tokens more."""
    weighing = (op for op in structure.operations if "softmax" in op.name or "attention" in op.name)
    return any(len(operation.shape) > 2 for operation in weighing)


class AttentionTab:
    """Shows attention weights; ``redraw`` is called when a patch is chosen whose weights the page does not have."""

    def __init__(self, selection: Selection, redraw: Callable[[], Awaitable[None]]) -> None:
        self.selection, self.redraw = selection, redraw
        self._value: AttentionMaps | None = None

    async def complete(self, value: AttentionMaps) -> AttentionMaps:
        """The value with the matrices of its layers, the selected one first, as far as a page can hold them."""
        own = _layer_within(value, self.selection.layer)
        layers = sorted(value.maps, key=lambda name: name != own)
        kept: list[str] = []
        left = MAX_NUMBERS
        for name in layers:
            left -= _numbers(value, name)
            if left >= 0:
                kept.append(name.partition("#")[0])
        if not kept:
            return value
        whole = await self.selection.run("attention", matrix=True, within=" ".join(dict.fromkeys(kept)))
        return replace(value, matrices=whole.matrices) if isinstance(whole, AttentionMaps) else value

    def show(self, value: AttentionMaps) -> None:
        """Add the viewer to the page, and what there is to know about the weights."""
        self._value, tr = value, self.selection.tr
        layer = _layer_within(value, self.selection.layer)
        html = viewer_html(value, translate=tr, chosen=(layer, 0))
        ui.html(html, sanitize=False).classes("q-mt-sm").on("attention", self._on_chosen, js_handler=ON_ATTENTION)
        ui.label(tr(value.record.reads)).classes("hint q-mt-sm")
        for note in render.notes(value):
            ui.label(tr(note.text)).classes("remark")

    async def _on_chosen(self, event: Any) -> None:
        chosen = {name: str(event.args[name]) for name in ("patch", "direction") if event.args.get(name)}
        self.selection.update(lens="attention", parameters=chosen)
        value = self._value
        if value is not None and value.maps.keys() != value.matrices.keys() and chosen != _token_of(value):
            await self.redraw()


def _token_of(value: AttentionMaps) -> dict[str, str]:
    """The parameters that name the token of a value."""
    kind, _, place = value.token.partition(" ")
    return {**({"patch": place} if kind == "patch" else {}), "direction": value.direction}


def _layer_within(value: AttentionMaps, address: str) -> str:
    """The layer that attends at or within an address; empty if there is none."""
    names = (
        name for name in value.maps if address and (name == address or name.startswith((f"{address}.", f"{address}#")))
    )
    return next(names, "")


def _numbers(value: AttentionMaps, layer: str) -> int:
    """About how many weights there are between the tokens of a layer."""
    heads, *grid = value.maps[layer].shape
    return int(heads * math.prod(grid) ** 2)
