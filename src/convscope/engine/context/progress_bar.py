"""The bar that shows how far a long call is: on a terminal, in a notebook, and nowhere else.

The command line shows it from the start; calls from Python only after a second, so that quick ones leave no trace. It
is written to standard error and is gone at the end.
"""

import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from convscope.engine.context.metering import is_reported, reporting
from convscope.errors import ParameterError

PATIENCE = 1.0
"""So many seconds a call from Python goes on before it shows how far it is."""
_SELDOM = 0.2
"""Seconds between two updates in a notebook, each of which travels to the browser."""

_now: Callable[[], float] = time.monotonic
_wanted = True


def show_progress(on: bool) -> None:
    """Say whether long calls show how far they are; they do on a terminal and in a notebook, until this is called.

    Args:
        on: False switches the bars off for the rest of the session, True on again.

    Example:
        >>> import convscope as cs
        >>> cs.show_progress(False)
        >>> cs.show_progress(True)
    """
    global _wanted
    if not isinstance(on, bool):
        raise ParameterError(f"show_progress takes True or False, got {on!r}")
    _wanted = on


@contextmanager
def shown(title: str) -> Iterator[None]:
    """Show how far the work within is, where a person watches and nobody else reports it."""
    if not _wanted or is_reported() or threading.current_thread() is not threading.main_thread():
        yield
        return
    with bar(title, after=PATIENCE) as report, reporting(report):
        yield


@contextmanager
def bar(title: str, *, after: float = 0.0) -> Iterator[Callable[[int, int], None]]:
    """A bar as ``report(done, total)``; silent where nobody watches.

    Args:
        after: so many seconds pass before it is shown.
    """
    drawn = _drawn_in()
    if drawn is None:
        yield lambda done, total: None
        return
    begun, live = _now(), None

    def report(done: int, total: int) -> None:
        nonlocal live
        if live is None and _now() - begun >= after and done < total:
            live = drawn(title)
        if live is not None:
            live.update(done, total)

    if not after:
        live = drawn(title)
    try:
        yield report
    finally:
        if live is not None:
            live.close()


def _drawn_in() -> "type[_OnTerminal] | type[_InNotebook] | None":
    """What draws a bar here; None where standard error goes to a file or a pipe."""
    if in_notebook():
        return _InNotebook
    try:
        return _OnTerminal if sys.stderr is not None and sys.stderr.isatty() else None
    except ValueError:  # closed
        return None


def in_notebook() -> bool:
    """Whether a notebook shows what is displayed."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class _OnTerminal:
    """A line of standard error that is written over and cleared at the end."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._progress = Progress(
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )
        self._task = self._progress.add_task(title, total=None)
        self._progress.start()

    def update(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def close(self) -> None:
        self._progress.stop()


class _InNotebook:
    """A bar in the output of the cell, which is empty again at the end."""

    def __init__(self, title: str) -> None:
        display: Any = importlib.import_module("IPython.display")
        self._html, self._title, self._last = display.HTML, title, _now()
        self._handle = display.display(self._html(self._said(0, 0)), display_id=True)

    def update(self, done: int, total: int) -> None:
        if done >= total or _now() - self._last >= _SELDOM:
            self._last = _now()
            self._handle.update(self._html(self._said(done, total)))

    def close(self) -> None:
        self._handle.update(self._html(""))

    def _said(self, done: int, total: int) -> str:
        share = f' value="{done}" max="{total}"' if total else ""
        counted = f" {done} / {total}" if total else ""
        return f"<label>{escape(self._title)} <progress{share}></progress>{counted}</label>"
