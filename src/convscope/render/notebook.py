"""The interactive form of a value in a notebook: a page of its own, in a frame that is as high as the page.

The frame holds everything that it shows, so that a notebook can be passed on. Values without an interactive form have
their picture only, which is also what a notebook shows where it runs no scripts.
"""

import base64
from dataclasses import asdict
from html import escape

from convscope.render import attention_viewer, captions, layer_slider
from convscope.render.attribution import draw_attribution
from convscope.render.page_parts import alt, notes
from convscope.render.palette import OPACITY, PHOTO_WEIGHT, THEMES, scale_gradients
from convscope.values import AttentionMaps, Attribution, Value

STYLE = """body {margin: 0; padding: 2px; font: 14px/1.45 system-ui, sans-serif; color: var(--text);
  background: var(--page)}
h1 {font-size: 16px; margin: 0} p {margin: 0 0 8px; max-width: 72ch} .small {font-size: 13px; color: var(--faint)}
ul {margin: 8px 0 0; padding-left: 20px} .warning {font-weight: 600} .still {max-width: 100%}
.layer-slider {max-width: 384px}"""
"""The style of the page beside that of the viewer."""
FIT = """addEventListener("load", () => {
  const fit = () => { frameElement.style.height = document.documentElement.offsetHeight + "px"; };
  new ResizeObserver(fit).observe(document.documentElement);
  fit();
});"""
"""Keeps the frame as high as its page."""


def notebook_html(value: Value) -> str | None:
    """A frame with the viewer of a value; None for values that have none."""
    if isinstance(value, AttentionMaps):
        viewer, style, script = _attention(value), attention_viewer.viewer_style(), attention_viewer.viewer_script()
    elif isinstance(value, Attribution) and value.has_film:
        viewer, style, script = _layers(value), layer_slider.slider_style(), layer_slider.slider_script()
    else:
        return None
    page = (
        f'<!doctype html><html><head><meta charset="utf-8"><style>{_colours()}{STYLE}{style}</style></head>'
        f"<body>{viewer}<script>{script}{FIT}</script></body></html>"
    )
    title = escape(captions.title(value))
    return f'<iframe srcdoc="{escape(page)}" title="{title}" style="width: 100%; height: 480px; border: 0"></iframe>'


def _attention(value: AttentionMaps) -> str:
    """The viewer under the title of the value, with the line on how to read it and its notes."""
    reads = escape(value.record.adapt_wording(value.record.reads))
    items = "".join(
        f"<li{' class=warning' if note.warning else ''}>{escape(value.record.adapt_wording(note.text))}</li>"
        for note in notes(value)
    )
    return (
        f'<h1>{escape(captions.title(value))}</h1><p class="small">{escape(captions.source(value))}</p><p>{reads}</p>'
        f"{attention_viewer.viewer_html(value)}{f'<ul>{items}</ul>' if items else ''}"
    )


def _layers(value: Attribution) -> str:
    """The picture of the value, and the slider through its layers."""
    source = base64.b64encode(draw_attribution(value, theme="light").png()).decode("ascii")
    still = f'<img class="still" src="data:image/png;base64,{source}" alt="{escape(alt(value))}">'
    return f"{still}{layer_slider.slider_html(value)}"


def _colours() -> str:
    """The colours of the light theme, which pictures have too, and those of the scales."""
    theme = "".join(f"--{name}: {colour}; " for name, colour in asdict(THEMES["light"]).items())
    return f":root {{{theme}--faded: {PHOTO_WEIGHT}; --opacity: {OPACITY}; color-scheme: light}}\n{scale_gradients()}"
