"""The progress bar of long calls: on a terminal and in a notebook, nowhere else.

The command line shows it from the start, calls from Python only after a second, so that short calls show nothing. It is
written to standard error and cleared at the end.
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
from convscope.values.notebook import notebook_display

DELAY = 1.0
"""Seconds before a call from Python shows its progress."""
_NOTEBOOK_INTERVAL = 0.2
"""Seconds between two updates in a notebook, each of which is sent to the browser."""

_now: Callable[[], float] = time.monotonic
_enabled = True


def show_progress(on: bool) -> None:
    """Switch the progress bars of long calls on or off; they are on at the start.

    Args:
        on: False switches the bars off for the rest of the session, True on again.

    Example:
        >>> import convscope as cs
        >>> cs.show_progress(False)
        >>> cs.show_progress(True)
    """
    global _enabled
    if not isinstance(on, bool):
        raise ParameterError(f"show_progress takes True or False, got {on!r}")
    _enabled = on


@contextmanager
def shown(title: str) -> Iterator[None]:
    """Show the progress of the code inside, on a terminal or in a notebook, unless a caller already reports it."""
    if not _enabled or is_reported() or threading.current_thread() is not threading.main_thread():
        yield
        return
    with bar(title, after=DELAY) as report, reporting(report):
        yield


@contextmanager
def bar(title: str, *, after: float = 0.0) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a function ``report(done, total)``; it does nothing where standard error is redirected.

    Args:
        after: seconds before it is shown.
    """
    bar_class = _bar_class()
    if bar_class is None:
        yield lambda done, total: None
        return
    started, live = _now(), None

    def report(done: int, total: int) -> None:
        nonlocal live
        if live is None and _now() - started >= after and done < total:
            live = bar_class(title)
        if live is not None:
            live.update(done, total)

    if not after:
        live = bar_class(title)
    try:
        yield report
    finally:
        if live is not None:
            live.close()


def _bar_class() -> "type[_TerminalBar] | type[_NotebookBar] | None":
    """The kind of bar to show; None where standard error goes to a file or a pipe."""
    if notebook_display() is not None:
        return _NotebookBar
    try:
        return _TerminalBar if sys.stderr is not None and sys.stderr.isatty() else None
    except ValueError:  # closed
        return None


class _TerminalBar:
    """A line on standard error that is overwritten, and cleared at the end."""

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


class _NotebookBar:
    """A bar in the output of the cell, removed at the end."""

    def __init__(self, title: str) -> None:
        display: Any = importlib.import_module("IPython.display")
        self._html, self._title, self._last = display.HTML, title, _now()
        self._handle = display.display(self._html(self._markup(0, 0)), display_id=True)

    def update(self, done: int, total: int) -> None:
        if done >= total or _now() - self._last >= _NOTEBOOK_INTERVAL:
            self._last = _now()
            self._handle.update(self._html(self._markup(done, total)))

    def close(self) -> None:
        self._handle.update(self._html(""))

    def _markup(self, done: int, total: int) -> str:
        share = f' value="{done}" max="{total}"' if total else ""
        counted = f" {done} / {total}" if total else ""
        return f"<label>{escape(self._title)} <progress{share}></progress>{counted}</label>"
