"""The progress bar of long calls: on a terminal after a second, in a notebook, and nowhere else."""

import io
import sys
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

import convscope as cs
from convscope.engine.context import progress_bar
from convscope.engine.context.metering import is_reported, report_progress, reporting
from convscope.engine.context.progress_bar import bar, shown
from convscope.errors import Cancelled, ParameterError


class Terminal(io.StringIO):
    """What a person watches, once a test has put it in the place of standard error: pytest takes it back before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._monkeypatch = monkeypatch

    def isatty(self) -> bool:
        return True

    def watched(self) -> "Terminal":
        self._monkeypatch.setattr(sys, "stderr", self)
        return self


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still until a test moves it."""
    time = [0.0]
    monkeypatch.setattr(progress_bar, "_now", lambda: time[0])
    return time


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal for standard error."""
    monkeypatch.setenv("TERM", "xterm")
    return Terminal(monkeypatch)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A notebook, and what the output of its cell was, one state after another."""
    states: list[str] = []

    class Handle:
        def update(self, html: str) -> None:
            states.append(html)

    def display(html: str, *, display_id: bool) -> Handle:
        assert display_id
        states.append(html)
        return Handle()

    ipython, shows = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=True)  # type: ignore[attr-defined]
    shows.HTML, shows.display = str, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shows)
    return states


@pytest.fixture(autouse=True)
def switched_on() -> Iterator[None]:
    yield
    cs.show_progress(True)


def work(clock: list[float], steps: int = 10, each: float = 0.5) -> None:
    for step in range(steps):
        clock[0] += each
        report_progress(step + 1, steps)


def test_a_long_call_shows_how_far_it_is_on_a_terminal_and_leaves_nothing(
    terminal: Terminal, clock: list[float]
) -> None:
    terminal.watched()
    with shown("Occlusion"):
        work(clock)
    assert "Occlusion" in terminal.getvalue()
    assert terminal.getvalue().endswith(("\x1b[2K", "\x1b[?25h")), "the line is cleared"


def test_a_quick_call_shows_nothing(terminal: Terminal, clock: list[float]) -> None:
    terminal.watched()
    with shown("Occlusion"):
        work(clock, each=0.05)
    assert terminal.getvalue() == ""


def test_what_ends_just_then_shows_nothing(terminal: Terminal, clock: list[float]) -> None:
    terminal.watched()
    with shown("Occlusion"):
        work(clock, steps=1, each=5.0)
    assert terminal.getvalue() == ""


def test_nothing_is_shown_where_standard_error_is_piped(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with shown("Occlusion"):
        work(clock)
    with bar("Occlusion") as report:
        report(1, 2)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_a_standard_error_nothing_fails(
    stream: str | None, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stream else None)
    with shown("Occlusion"):
        work(clock)


def test_a_notebook_shows_a_bar_and_is_empty_at_the_end(notebook: list[str], clock: list[float]) -> None:
    with shown("RISE <3"):
        work(clock)
    assert "RISE &lt;3 <progress" in notebook[0]
    assert 'value="9" max="10"' in notebook[-3]
    assert notebook[-1] == ""


def test_a_notebook_is_told_seldom(notebook: list[str], clock: list[float]) -> None:
    clock[0] = 1.0
    with shown("RISE"):
        work(clock, steps=10_000, each=0.001)
    assert 20 < len(notebook) < 60


def test_it_can_be_switched_off(terminal: Terminal, clock: list[float]) -> None:
    terminal.watched()
    cs.show_progress(False)
    with shown("Occlusion"):
        work(clock)
    assert terminal.getvalue() == ""
    cs.show_progress(True)
    with shown("Occlusion"):
        work(clock)
    assert terminal.getvalue() != ""
    with pytest.raises(ParameterError, match="True or False, got 'off'"):
        cs.show_progress("off")  # type: ignore[arg-type]


def test_who_reports_already_is_not_disturbed(terminal: Terminal, clock: list[float]) -> None:
    terminal.watched()
    reports: list[tuple[int, int]] = []
    with reporting(lambda done, total: reports.append((done, total))), shown("Occlusion"):
        work(clock)
    with reporting(None), shown("Occlusion"):
        work(clock)
    assert reports[-1] == (10, 10)
    assert terminal.getvalue() == ""
    assert not is_reported()


def test_other_threads_show_nothing(terminal: Terminal, clock: list[float]) -> None:
    terminal.watched()

    def run() -> None:
        with shown("Occlusion"):
            work(clock)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert terminal.getvalue() == ""


def test_a_call_that_fails_takes_its_bar_away(notebook: list[str], clock: list[float]) -> None:

    def fail() -> None:
        with shown("RISE"):
            work(clock)
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        fail()
    assert notebook[-1] == ""


LONG: dict[str, dict[str, Any]] = {
    "occlusion": {"patch": 3, "stride": 1},
    "rise": {"samples": 2000},
    "kernel_shap": {"samples": 2000},
    "activation_maximization": {"steps": 8},
    "activations": {},
}


@pytest.mark.parametrize("lens", LONG)
def test_lenses_that_take_long_show_it(
    lens: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    terminal.watched()
    ticks = iter(range(100_000))
    monkeypatch.setattr(progress_bar, "_now", lambda: float(next(ticks)))
    model = cs.load("bundled:digits")
    image = torch.rand(600, 1, 32, 32) if lens == "activations" else "sample:digits/3"
    given = () if lens == "activation_maximization" else (image,)
    getattr(cs, lens)(model, *given, **LONG[lens])
    assert getattr(cs, lens).declaration.title[:6] in terminal.getvalue()


def test_a_comparison_is_one_bar(notebook: list[str], monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    ticks = iter(range(100_000))
    monkeypatch.setattr(progress_bar, "_now", lambda: float(next(ticks)))
    cs.compare(cs.load("bundled:digits"), "sample:digits/3", ["saliency", "grad-cam"], targets=[1, 2])
    assert 'value="3" max="4"' in "".join(notebook)
    assert {html.partition("<progress")[0] for html in notebook} == {"<label>comparing ", ""}
