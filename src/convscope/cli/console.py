"""Output of commands: results on standard output; messages, progress and one-line errors on standard error."""

import functools
import json
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import typer

from convscope.cli.error_wording import to_shell_syntax
from convscope.cli.interrupts import EXIT_INTERRUPTED, allow_keyboard_interrupt
from convscope.cli.terminal import supports_unicode
from convscope.errors import Cancelled, ConvScopeError, InputError, ModelFailed

OPENING_NAMES = (
    "weights",
    "labels",
    "size",
    "resize",
    "mean",
    "std",
    "task",
    "units",
    "device",
    "trust",
    "layer",
    "target",
    "unit",
)
"""Parameter names that occur in errors raised while a model is opened."""


def report_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that exceptions become one sentence and an exit status.

    The status is 2 for an invalid request, 130 for an interrupt, and 1 for anything else.

    In the command Ctrl-C raises KeyboardInterrupt, unless its attribute ``handles_interrupts`` is true: then it calls
    `allow_keyboard_interrupt` itself.
    """
    handles_interrupts = getattr(command, "handles_interrupts", False)

    @functools.wraps(command)
    def run(*args: Any, debug: bool = False, **options: Any) -> None:
        try:
            with nullcontext() if handles_interrupts else allow_keyboard_interrupt():
                command(*args, **options)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            _exit_with("stopped", EXIT_INTERRUPTED, debug)
        except Cancelled as error:
            _exit_with(str(error), EXIT_INTERRUPTED, debug)
        except ConvScopeError as error:
            sentence = to_shell_syntax(str(error), {*OPENING_NAMES, *options})
            is_its_own = isinstance(error, ModelFailed) and not isinstance(error, InputError)
            _exit_with(sentence, 1 if is_its_own else 2, debug)
        except Exception as error:
            hint = "" if debug else " (--debug shows where)"
            _exit_with(f"unexpected {type(error).__name__}: {error}{hint}", 1, debug)

    return run


def print_message(text: str) -> None:
    """Print a message on standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def print_result(text: str) -> None:
    """Print a result on standard output."""
    print(text, flush=True)  # noqa: T201


def print_json(result: Any) -> None:
    """Print a result as JSON on standard output."""
    print_result(json.dumps(result, indent=2, ensure_ascii=not supports_unicode()))


def progress_bar(title: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """A progress bar on standard error, updated by ``report(done, total)``; silent if that is no terminal."""
    from convscope.engine.context import progress_bar

    return progress_bar.bar(title)


@contextmanager
def track_progress(title: str) -> Iterator[threading.Event]:
    """Show the progress of the lens that runs in the body; Ctrl-C stops it at its next step, a second one immediately.

    Yields an event that is set on the first Ctrl-C: an optimization then returns its best result so far.
    """
    from convscope.engine.context.metering import reporting

    stopped = threading.Event()

    def interrupt(_signal: int, _frame: Any) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        print_message("stopping …")

    with progress_bar(title) as report, _on_interrupt(interrupt):

        def update(done: int, total: int) -> None:
            report(done, total)
            if stopped.is_set():
                raise Cancelled("stopped")

        with reporting(update):
            yield stopped


@contextmanager
def _on_interrupt(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Call ``handler`` on Ctrl-C; without effect outside the main thread, which alone receives signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _exit_with(sentence: str, status: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print_message(f"convscope: {sentence}")
    raise typer.Exit(status)
