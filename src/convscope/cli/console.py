"""How commands talk: results on standard output, everything else on standard error, one sentence for a refusal."""

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

from convscope.cli.interrupts import STOPPED, interruptible
from convscope.cli.terminal import shows_unicode
from convscope.cli.wording import in_options
from convscope.errors import Cancelled, ConvScopeError, ModelFailed

OPENING = ("weights", "labels", "size", "resize", "mean", "std", "device", "trust", "layer", "target", "unit")
"""What sentences name that come up while a network is opened or looked through."""


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what goes wrong within a command into one sentence and an exit status.

    It is 2 where the request is wrong, 130 where somebody stopped it, and 1 for anything else.

    Within it Ctrl-C raises KeyboardInterrupt, but for a command that says itself from where on, by `interruptible`.
    """
    own = getattr(command, "says_when_interruptible", False)

    @functools.wraps(command)
    def run(*args: Any, debug: bool = False, **options: Any) -> None:
        try:
            with nullcontext() if own else interruptible():
                command(*args, **options)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            _stop("stopped", STOPPED, debug)
        except Cancelled as error:
            _stop(str(error), STOPPED, debug)
        except ConvScopeError as error:
            sentence = in_options(str(error), {*OPENING, *options})
            _stop(sentence, 1 if isinstance(error, ModelFailed) else 2, debug)
        except Exception as error:
            hint = "" if debug else " (--debug shows where)"
            _stop(f"unexpected {type(error).__name__}: {error}{hint}", 1, debug)

    return run


def say(text: str) -> None:
    """A line for the person, on standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def put(text: str) -> None:
    """A result, on standard output."""
    print(text, flush=True)  # noqa: T201


def put_json(thing: Any) -> None:
    """A result as JSON, on standard output."""
    put(json.dumps(thing, indent=2, ensure_ascii=not shows_unicode()))


def bar(title: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """A progress bar on standard error, as ``report(done, total)``; silent where nobody watches."""
    from convscope.engine.context import progress_bar

    return progress_bar.bar(title)


@contextmanager
def watched(title: str) -> Iterator[threading.Event]:
    """Show the progress of the lens that runs within; Ctrl-C ends it at its next step, and a second one at once.

    What is given is set once somebody stopped it: a drawing then ends with the best so far.
    """
    from convscope.engine.context.metering import reporting

    stopped = threading.Event()

    def interrupt(_signal: int, _frame: Any) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        say("stopping …")

    with bar(title) as report, _on_interrupt(interrupt):

        def told(done: int, total: int) -> None:
            report(done, total)
            if stopped.is_set():
                raise Cancelled("stopped")

        with reporting(told):
            yield stopped


@contextmanager
def _on_interrupt(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Have ``handler`` called on Ctrl-C; only the main thread hears of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(sentence: str, status: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    say(f"convscope: {sentence}")
    raise typer.Exit(status)
