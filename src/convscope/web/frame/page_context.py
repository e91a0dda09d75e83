"""What a page is built with: the user's language and theme, the services, and the browser tab that shows it."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from nicegui import Client, ui

from convscope.catalogue import find, recommend
from convscope.errors import ConvScopeError
from convscope.values import Recommendation, Value
from convscope.web.i18n import translate
from convscope.web.jobs.async_wait import run_in_thread, wait_until_finished
from convscope.web.jobs.job import Job
from convscope.web.requests.services import Services
from convscope.web.requests.url_state import View
from convscope.web.requests.written_inputs import opened_input

MAX_SUGGESTED_LENSES = 8
"""Lenses that are suggested where one was refused, at most."""


@dataclass(frozen=True)
class PageContext:
    """One open page: its path, the user's language and theme, the services, and the client that shows it.

    Attributes:
        client: NiceGUI's client, one for each open tab.
        closed: set once the client is deleted.
    """

    path: str
    lang: str
    dark: bool
    services: Services
    client: Client
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.client.on_delete(self.closed.set)

    def tr(self, english: str, **values: object) -> str:
        """A text in the user's language, with ``values`` filled into its ``{names}``."""
        return translate(english, self.lang, **values)

    def link(self, view: View, path: str = "") -> str:
        """The link to a view, on this page or another."""
        return f"{path or self.path}?{view.query()}"

    def update_url(self, view: View, *, by_user: bool = True) -> None:
        """Write the view into the address bar.

        Args:
            by_user: whether the user made the change, who can then undo it with the browser's back button; values
                that the page fills in by itself add nothing to the history.
        """
        arguments = json.dumps([self.link(view), shared_view(view).query(), by_user])
        self.client.run_javascript(f"convscope.updateUrl(...{arguments})")

    async def wait(self, job: Job) -> Job:
        """Wait for a job; a tab that closes stops watching it, and the job stops when nobody watches it."""
        jobs = self.services.jobs
        jobs.watch(job, self._is_connected)
        try:
            await wait_until_finished(job, gone=self.closed.wait())
        finally:
            jobs.unwatch(job, self._is_connected)
        return job

    def _is_connected(self) -> bool:
        return bool(self.client.has_socket_connection)

    async def run(self, view: View) -> Value | str:
        """The value for a view, or the error message if it is refused or fails."""
        try:
            job = await self.wait(self.services.submit(view))
        except ConvScopeError as error:
            return str(error)
        return job.value if job.value is not None else job.error or self.tr("Stopped.")

    async def fitting_lenses(self, view: View, candidates: Iterable[str]) -> list[tuple[str, str]]:
        """Commands and titles of candidate lenses that suit the network and image, the best first; a few at most."""
        library = self.services.library
        try:
            key = f"recommend\n{view.model}\n{library.fingerprint(view.image)}"

            def work() -> Value:
                model = library.model(view.model)
                return recommend(model, opened_input(library, view.image, model.input))

            job = await self.wait(self.services.jobs.submit(key, work, owner=view.model))
        except ConvScopeError:
            return []  # the error is shown where the network or the image is used
        best = job.value.best if isinstance(job.value, Recommendation) else ()
        known = set(candidates)
        return [(name, self.tr(find(name).title)) for name in best if name in known][:MAX_SUGGESTED_LENSES]

    async def download(self, make: Callable[[], bytes], name: str) -> None:
        """Send a file to the browser under this name; show the error if it cannot be made."""
        try:
            content = await run_in_thread(make)
        except ConvScopeError as error:
            self.show_error(str(error))
            return
        if not self.client.is_deleted:
            self.client.download(content, name)  # the button that was pressed may be gone

    def show_error(self, message: str) -> None:
        """Show an error at the bottom of the page, where it covers no heading, until it is closed or times out."""
        if not self.client.is_deleted:
            close = self.tr("Close")
            with self.client:  # also outside of a slot; no type is given since types bring colours of their own
                ui.notify(
                    message, icon="warning", position="bottom", multi_line=True, close_button=close, classes="toast"
                )


def shared_view(view: View) -> View:
    """The part of a view that links to other pages keep: the model and the image."""
    return View(model=view.model, image=view.image)
