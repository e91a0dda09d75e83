"""The layout that all pages share: header, navigation, language and theme."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import asdict
from functools import cache
from html import escape
from importlib.resources import files

from nicegui import app, ui

from convscope.render import OPACITY, PHOTO_WEIGHT, THEMES, attention_viewer, layer_slider
from convscope.render.palette import scale_gradients
from convscope.render.slice_viewer import viewer_script
from convscope.web.frame.page_context import PageContext, shared_view
from convscope.web.frame.page_registry import pages
from convscope.web.i18n import LANGUAGES, translate
from convscope.web.requests.url_state import View

LANG, THEME, SCHEME = "convscope_lang", "convscope_theme", "convscope_scheme"
"""The cookies with the user's language and theme, and with the colour scheme of the system."""

MARK = (
    '<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><circle cx="10.5" cy="10.5" r="7" fill="none" '
    'stroke="currentColor" stroke-width="2.4"/><circle cx="10.5" cy="10.5" r="2.6" fill="currentColor"/>'
    '<path d="M16 16l5.4 5.4" stroke="currentColor" stroke-width="2.8" stroke-linecap="round"/></svg>'
)


LIBRARY_PATH = "/assets/niivue.js"
"""Where pages find the library of the slice viewer; they ask for it when a viewer is opened."""


@contextmanager
def page_frame(title: str, view: View) -> Iterator[PageContext]:
    """Draw the header and open the main element of a page; yields the context with which to build the content."""
    client = ui.context.client
    request = client.request
    lang, dark = language(request.cookies, request.headers), is_dark(request.cookies, request.headers)
    context = PageContext(request.url.path, lang, dark, app.state.services, client)
    client.page = copy(client.page)  # NiceGUI's own texts follow the user's language
    client.page.language = "zh-CN" if lang == "zh" else "en-US"
    theme = chosen_theme(request.cookies)
    ui.dark_mode(None if theme == "system" else dark)
    ui.page_title(f"{context.tr(title)} · ConvScope")
    ui.add_head_html(_head(lang, theme, dark))
    if (slot := client.content.parent_slot) is not None:
        slot.parent.tag = "div"  # NiceGUI makes it a second main element, which would contain the header
        slot.parent.classes("q-page")
    ui.html(_header(context, view, theme), sanitize=False, tag="header").classes("top")
    with ui.element("main").classes("whole-page"):
        ui.html('<span id="content" tabindex="-1"></span>', sanitize=False, tag="span")
        yield context


def _header(context: PageContext, view: View, theme: str) -> str:
    """Logo, navigation, and the choice of language and theme."""
    links = "".join(
        f'<a href="{escape(context.link(shared_view(view), page.path))}"'
        f"{' aria-current=page' if page.path == context.path else ''}>{escape(context.tr(page.title))}</a>"
        for page in pages()
    )
    first = escape(context.link(shared_view(view), "/"))
    themes = {"system": context.tr("System"), "light": context.tr("Light"), "dark": context.tr("Dark")}
    return (
        f'<a class="skip" href="#content">{escape(context.tr("Skip to the content"))}</a><div class="top-inner">'
        f'<a class="brand" href="{first}">{MARK}ConvScope</a>'
        f'<nav class="pages" aria-label="{escape(context.tr("Pages"))}">{links}</nav><div class="choices">'
        f"{_select(LANG, context.tr('Language'), LANGUAGES, context.lang)}"
        f"{_select(THEME, context.tr('Theme'), themes, theme)}</div></div>"
    )


def _select(cookie: str, label: str, choices: Mapping[str, str], selected: str) -> str:
    options = "".join(
        f'<option value="{key}"{" selected" if key == selected else ""}>{escape(text)}</option>'
        for key, text in choices.items()
    )
    return f'<select data-remembered="{cookie}" aria-label="{escape(label)}">{options}</select>'


def language(cookies: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The user's language: as chosen, or as the browser asks."""
    chosen = cookies.get(LANG, "")
    if chosen in LANGUAGES:
        return chosen
    return "zh" if headers.get("accept-language", "").lower().startswith("zh") else "en"


def chosen_theme(cookies: Mapping[str, str]) -> str:
    """``light``, ``dark``, or ``system`` if nothing was chosen."""
    chosen = cookies.get(THEME, "")
    return chosen if chosen in THEMES else "system"


def is_dark(cookies: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    """Whether the page is dark: as chosen, or as the system's scheme, which the page's script stores in a cookie."""
    chosen = chosen_theme(cookies)
    hint = headers.get("sec-ch-prefers-color-scheme", "").strip('"')
    return (cookies.get(SCHEME, "") or hint if chosen == "system" else chosen) == "dark"


def _head(lang: str, theme: str, dark: bool) -> str:
    """Colours, styles and script, all inlined: the page fetches nothing."""
    settings = {
        "lost": [
            translate("The connection to the server is lost.", lang),
            translate("This page reconnects by itself when the server is back.", lang),
        ],
        "camera": [
            translate("Take picture", lang),
            translate("Close", lang),
            translate("No camera is available.", lang),
        ],
        "lang": "zh-CN" if lang == "zh" else lang,
        "system": theme == "system",
        "dark": dark,
        "scheme": SCHEME,
    }
    return (
        f"<style>{_variables()}{_text('reset.css')}{_text('workbench.css')}{attention_viewer.viewer_style()}"
        f"{layer_slider.slider_style()}</style>"
        f"<script>window.convscope = {json.dumps(settings)};{_text('workbench.js')}</script>"
        f'<script data-niivue="{LIBRARY_PATH}">{viewer_script()}</script>'
        f"<script>{attention_viewer.viewer_script()}{layer_slider.slider_script()}</script>"
    )


@cache
def _text(name: str) -> str:
    return (files("convscope.web.frame") / name).read_text("utf-8")


@cache
def _variables() -> str:
    """The colours of both themes and both colour scales as CSS, the same that pictures are drawn with."""

    def theme_colors(name: str) -> str:
        return " ".join(f"--{key}: {value};" for key, value in asdict(THEMES[name]).items())

    shares = f"--faded: {PHOTO_WEIGHT}; --opacity: {OPACITY};"
    themes = f":root {{{theme_colors('light')} {shares}}} .body--dark {{{theme_colors('dark')}}}"
    return f"{themes} {scale_gradients()}"
