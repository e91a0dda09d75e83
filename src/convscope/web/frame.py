"""What all pages share: header, navigation, language, theme, and the place in which a page is built."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from nicegui import Client, app, ui

from convscope.errors import ConvScopeError
from convscope.render import THEMES
from convscope.values import Value
from convscope.web.pages import pages
from convscope.web.texts import LANGUAGES, say
from convscope.web.view import View
from convscope.web.waiting import over

if TYPE_CHECKING:
    from convscope.web.app import Bench
    from convscope.web.jobs import Job

LANG, THEME = "convscope_lang", "convscope_theme"
"""The cookies that remember a person's choices."""


@dataclass(frozen=True)
class Place:
    """Where a page is built: for whom, and with what behind it."""

    path: str
    lang: str
    dark: bool
    bench: "Bench"
    client: Client

    def say(self, english: str) -> str:
        """A text in the person's language."""
        return say(english, self.lang)

    def link(self, view: View, path: str = "") -> str:
        """The address of a view, on this page or another."""
        return f"{path or self.path}?{view.query()}"

    def remember(self, view: View) -> None:
        """Write the view into the address bar, so that the link carries it."""
        self.client.run_javascript(f"history.replaceState(null, '', {json.dumps(self.link(view))})")

    async def wait(self, job: "Job") -> "Job":
        """Wait for a job without blocking; a tab that closes leaves it, and the last to leave stops it."""
        jobs = self.bench.jobs
        jobs.watch(job)
        try:
            await over(job, math.inf, gone=self._gone)
        finally:
            jobs.leave(job)
        return job

    async def _gone(self) -> bool:
        return bool(self.client.is_deleted)

    async def look(self, view: View) -> Value | str:
        """The value that a view asks for; or, where it is refused or failed, the sentence that says why."""
        try:
            job = await self.wait(self.bench.look(view))
        except ConvScopeError as error:
            return str(error)
        return job.value if job.value is not None else job.error or self.say("Stopped.")


@contextmanager
def frame(title: str, view: View) -> Iterator[Place]:
    """Draw what stands around a page and yield the place in which to build it."""
    client = ui.context.client
    request = client.request
    lang, dark = language(request.cookies, request.headers), darkness(request.cookies, request.headers)
    place = Place(request.url.path, lang, dark, app.state.bench, client)
    ui.dark_mode(dark)
    ui.page_title(f"{say(title, lang)} · ConvScope")
    ui.add_css(_variables())
    with ui.element("header"):
        ui.link("ConvScope", place.link(view, "/"))
        with ui.element("nav").props(f'aria-label="{say("Pages", lang)}"'):
            for page in pages():
                here = ui.link(say(page.title, lang), place.link(view, page.path))
                if page.path == place.path:
                    here.props('aria-current="page"')
        other = "zh" if lang == "en" else "en"
        ui.button(LANGUAGES[other], on_click=lambda: _choose(LANG, other))
        ui.button(say("Light" if dark else "Dark", lang), on_click=lambda: _choose(THEME, "light" if dark else "dark"))
    with ui.element("main"):
        yield place


def language(cookies: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The person's language: as chosen, or as the browser asks."""
    chosen = cookies.get(LANG, "")
    if chosen in LANGUAGES:
        return chosen
    return "zh" if headers.get("accept-language", "").lower().startswith("zh") else "en"


def darkness(cookies: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    """Whether the person likes it dark: as chosen, or as the browser says."""
    chosen = cookies.get(THEME, "") or headers.get("sec-ch-prefers-color-scheme", "").strip('"')
    return chosen == "dark"


def _choose(cookie: str, value: str) -> None:
    ui.run_javascript(
        f"document.cookie = '{cookie}={value}; path=/; max-age=31536000; samesite=strict'; location.reload()"
    )


def _variables() -> str:
    """The colours of both themes as CSS variables, the very ones that pictures are drawn in."""

    def of(name: str) -> str:
        return " ".join(f"--{key}: {value};" for key, value in asdict(THEMES[name]).items())

    return f":root {{{of('light')}}} .body--dark {{{of('dark')}}} body {{background: var(--page); color: var(--text)}}"
