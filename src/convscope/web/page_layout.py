"""What all pages share: header, navigation, language, theme, and the place in which a page is built."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import asdict, dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from nicegui import Client, app, ui

from convscope.catalogue import find, recommend
from convscope.errors import ConvScopeError
from convscope.render import FADED, OPACITY, SCALES, THEMES
from convscope.values import Recommendation, Value
from convscope.web.i18n import LANGUAGES, say
from convscope.web.jobs.waiting import aside, over
from convscope.web.pages import pages
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.web.jobs.job import Job
    from convscope.web.services import Bench

LANG, THEME, SCHEME = "convscope_lang", "convscope_theme", "convscope_scheme"
"""The cookies that remember a person's choices, and whether the system is dark."""
SUGGESTED = 8
"""So many lenses are named where one was refused."""

MARK = (
    '<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><circle cx="10.5" cy="10.5" r="7" fill="none" '
    'stroke="currentColor" stroke-width="2.4"/><circle cx="10.5" cy="10.5" r="2.6" fill="currentColor"/>'
    '<path d="M16 16l5.4 5.4" stroke="currentColor" stroke-width="2.8" stroke-linecap="round"/></svg>'
)


@dataclass(frozen=True)
class Place:
    """Where a page is built: for whom, and with what behind it."""

    path: str
    lang: str
    dark: bool
    bench: "Bench"
    client: Client

    def say(self, english: str, **values: object) -> str:
        """A text in the person's language, with ``values`` in the place of its ``{names}``."""
        return say(english, self.lang, **values)

    def link(self, view: View, path: str = "") -> str:
        """The address of a view, on this page or another."""
        return f"{path or self.path}?{view.query()}"

    def remember(self, view: View, *, chosen: bool = True) -> None:
        """Write the view into the address bar, so that the link carries it.

        Args:
            chosen: whether a person chose it, who may take it back; what a page fills in by itself, nobody did.
        """
        told = json.dumps([self.link(view), carried(view).query(), chosen])
        self.client.run_javascript(f"convscope.remember(...{told})")

    async def wait(self, job: "Job") -> "Job":
        """Wait for a job without blocking; a tab that closes leaves it, and the last to leave stops it."""
        jobs = self.bench.jobs
        jobs.watch(job, self._present)
        try:
            await over(job, math.inf, gone=self._gone)
        finally:
            jobs.leave(job, self._present)
        return job

    def _present(self) -> bool:
        return bool(self.client.has_socket_connection)

    async def _gone(self) -> bool:
        return bool(self.client.is_deleted)

    async def look(self, view: View) -> Value | str:
        """The value that a view asks for; or, where it is refused or failed, the sentence that says why."""
        try:
            job = await self.wait(self.bench.look(view))
        except ConvScopeError as error:
            return str(error)
        return job.value if job.value is not None else job.error or self.say("Stopped.")

    async def fitting(self, view: View, among: Iterable[str]) -> list[tuple[str, str]]:
        """The lenses that fit a network on an image, and what they are called, the best first; a few of those given."""
        library = self.bench.library
        try:
            key = f"recommend\n{view.model}\n{library.fingerprint(view.image)}"
            work = lambda: recommend(library.model(view.model), library.image(view.image))  # noqa: E731
            job = await self.wait(self.bench.jobs.submit(key, work, owner=view.model))
        except ConvScopeError:
            return []  # which is said where the network or the image is wanted
        best = job.value.best if isinstance(job.value, Recommendation) else ()
        known = set(among)
        return [(name, self.say(find(name).title)) for name in best if name in known][:SUGGESTED]

    async def hand_over(self, make: Callable[[], bytes], name: str) -> None:
        """Have the browser keep a file of this name; where it cannot be made, say why."""
        try:
            content = await aside(make)
        except ConvScopeError as error:
            self.complain(str(error))
            return
        if not self.client.is_deleted:
            ui.download.content(content, name)

    def complain(self, sentence: str) -> None:
        """Say what did not work, at the foot of the page where it covers no heading, until it is closed or read."""
        if not self.client.is_deleted:
            close = self.say("Close")
            with self.client:  # wherever in the page, or beside it, this is said; a type would bring colours of its own
                ui.notify(
                    sentence, icon="warning", position="bottom", multi_line=True, close_button=close, classes="toast"
                )


@contextmanager
def frame(title: str, view: View) -> Iterator[Place]:
    """Draw what stands around a page and yield the place in which to build it."""
    client = ui.context.client
    request = client.request
    lang, dark = language(request.cookies, request.headers), darkness(request.cookies, request.headers)
    place = Place(request.url.path, lang, dark, app.state.bench, client)
    client.page = copy(client.page)  # whose words for fields and for a lost connection are in the person's language too
    client.page.language = "zh-CN" if lang == "zh" else "en-US"
    theme = chosen_theme(request.cookies)
    ui.dark_mode(None if theme == "system" else dark)
    ui.page_title(f"{place.say(title)} · ConvScope")
    ui.add_head_html(_head(lang, theme, dark))
    if (around := client.content.parent_slot) is not None:
        around.parent.tag = "div"  # of NiceGUI's own, a second main, which would hold the header too
        around.parent.classes("q-page")
    ui.html(_header(place, view, theme), sanitize=False, tag="header").classes("top")
    with ui.element("main").classes("whole-page"):
        ui.html('<span id="content" tabindex="-1"></span>', sanitize=False, tag="span")
        yield place


def _header(place: Place, view: View, theme: str) -> str:
    """Name and mark, the pages, the language and the theme."""
    links = "".join(
        f'<a href="{escape(place.link(carried(view), page.path))}"'
        f"{' aria-current=page' if page.path == place.path else ''}>{escape(place.say(page.title))}</a>"
        for page in pages()
    )
    first = escape(place.link(carried(view), "/"))
    themes = {"system": place.say("System"), "light": place.say("Light"), "dark": place.say("Dark")}
    return (
        f'<a class="skip" href="#content">{escape(place.say("Skip to the content"))}</a><div class="top-inner">'
        f'<a class="brand" href="{first}">{MARK}ConvScope</a>'
        f'<nav class="pages" aria-label="{escape(place.say("Pages"))}">{links}</nav><div class="choices">'
        f"{_select(LANG, place.say('Language'), LANGUAGES, place.lang)}"
        f"{_select(THEME, place.say('Theme'), themes, theme)}</div></div>"
    )


def _select(cookie: str, label: str, choices: Mapping[str, str], chosen: str) -> str:
    options = "".join(
        f'<option value="{key}"{" selected" if key == chosen else ""}>{escape(said)}</option>'
        for key, said in choices.items()
    )
    return f'<select data-remembered="{cookie}" aria-label="{escape(label)}">{options}</select>'


def carried(view: View) -> View:
    """What of a view goes along to another page: what is looked at, not how."""
    return View(model=view.model, image=view.image)


def language(cookies: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The person's language: as chosen, or as the browser asks."""
    chosen = cookies.get(LANG, "")
    if chosen in LANGUAGES:
        return chosen
    return "zh" if headers.get("accept-language", "").lower().startswith("zh") else "en"


def chosen_theme(cookies: Mapping[str, str]) -> str:
    """``light``, ``dark``, or ``system`` where nothing was chosen."""
    chosen = cookies.get(THEME, "")
    return chosen if chosen in THEMES else "system"


def darkness(cookies: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    """Whether the page is dark: as chosen, or as the system has it, which the page's script tells by a cookie."""
    chosen = chosen_theme(cookies)
    asked = headers.get("sec-ch-prefers-color-scheme", "").strip('"')
    return (cookies.get(SCHEME, "") or asked if chosen == "system" else chosen) == "dark"


def _head(lang: str, theme: str, dark: bool) -> str:
    """Colours, style and script, all inlined: nothing is fetched from anywhere."""
    told = {
        "lost": [
            say("The connection to the server is lost.", lang),
            say("This page comes back by itself as soon as the server answers.", lang),
        ],
        "camera": [say("Take the picture", lang), say("Close", lang), say("No camera can be used here.", lang)],
        "lang": "zh-CN" if lang == "zh" else lang,
        "system": theme == "system",
        "dark": dark,
        "scheme": SCHEME,
    }
    return (
        f"<style>{_variables()}{_text('workbench.css')}</style>"
        f"<script>window.convscope = {json.dumps(told)};{_text('workbench.js')}</script>"
    )


@cache
def _text(name: str) -> str:
    return (files("convscope.web") / name).read_text("utf-8")


@cache
def _variables() -> str:
    """The colours of both themes and of both scales as CSS, the very ones that pictures are drawn in."""

    def of(name: str) -> str:
        return " ".join(f"--{key}: {value};" for key, value in asdict(THEMES[name]).items())

    def bar(kind: str, signed: bool) -> str:
        steps = ", ".join(f"#{step}" for step in SCALES[signed])
        return f".{kind} .bar {{background: linear-gradient(to right, {steps})}}"

    shares = f"--faded: {FADED}; --opacity: {OPACITY};"
    themes = f":root {{{of('light')} {shares}}} .body--dark {{{of('dark')}}}"
    return f"{themes} {bar('signed', True)} {bar('unsigned', False)}"
