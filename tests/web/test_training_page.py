"""Training, in a real browser: a log is drawn, and drawn again when a training writes to it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

import convscope as cs
from convscope.render.raster import png
from convscope.training.run import TrainingLog
from convscope.training.store.event_writer import EventWriter
from convscope.web.i18n import translate
from convscope.web.server.app import log_folders
from tests.web.browsing import overflowing, workbench

pytest.importorskip("nicegui")


def write_steps(writer: EventWriter, steps: range) -> None:
    for step in steps:
        writer.scalar("train/loss", 1.0 if step < 8 else float("nan"))
        writer.picture("kernels/conv", png(np.full((2, 2, 3), 20 * step, np.uint8)), 2, 2, 3)
        writer.write(step, 1e9 + step)
    writer.flush()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two log directories, the second without a log."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("first", "empty"):
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    """A workbench that follows them."""
    with workbench(models=["bundled:digits"], logs=[str(runs / "first"), str(runs / "empty")]) as server:
        yield server.address


def test_a_running_training_is_followed(visit: Any, runs: Path) -> None:
    writer = EventWriter(runs / "first")
    write_steps(writer, range(8))
    page = visit("/training")
    page.wait_for_selector("text=step 7")
    assert page.locator("h2").all_inner_texts() == ["Findings", "Learning curves", "Pictures over time"]
    assert "None of the checks of a run found anything wrong" in page.locator("main").inner_text()
    picture = page.locator("figure img")
    last = picture.get_attribute("src")
    page.get_by_role("slider").focus()
    page.keyboard.press("Home")
    page.wait_for_selector("figcaption:has-text('step 0')")
    assert picture.get_attribute("src") != last
    write_steps(writer, range(8, 12))
    page.wait_for_selector("text=divergence: the training loss is nan at step 8")
    assert "step 11" in page.locator("main").inner_text()
    assert "step 0" in page.locator("figcaption").inner_text()  # the slider stays
    assert overflowing(page, [390, 768, 1440]) == []
    writer.close()


def test_a_log_that_is_empty_is_followed_in_chinese(visit: Any, runs: Path) -> None:
    page = visit("/training?tab=1", lang="zh")
    page.wait_for_selector(f"text={translate('Nothing has been recorded yet; the page follows the log.', 'zh')}")
    writer = EventWriter(runs / "empty")
    write_steps(writer, range(3))
    writer.close()
    page.wait_for_selector(f"text={translate('Learning curves', 'zh')}")
    page.get_by_role("button", name=translate("Distributions over time", "zh")).click()
    page.wait_for_selector("[aria-pressed=true]")


def test_updates_of_a_page_follow_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As when a log grows while a button is pressed: both would read the log at the same time."""
    from convscope.web.pages.training import page
    from convscope.web.pages.training.run_drawing import Drawing

    moments: list[str] = []

    async def run(*_arguments: Any, slow: bool) -> Drawing:
        moments.append(f"begin {slow}")
        await asyncio.sleep(0)
        moments.append(f"end {slow}")
        return Drawing()

    for name in ("ui", "toggle"):
        monkeypatch.setattr(page, name, MagicMock())
    monkeypatch.setattr(page, "run_in_thread", run)

    async def grow_and_press() -> None:
        shown = page.TrainingPage(TrainingLog(tmp_path), MagicMock(**{"client.is_deleted": False}))
        await asyncio.gather(shown.update(), shown._toggle_slow())

    with ThreadPoolExecutor(1) as thread:  # the loop of the browser runs in this one
        thread.submit(lambda: asyncio.run(grow_and_press())).result()
    assert moments == ["begin False", "end False", "begin True", "end True"]


def test_a_log_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(cs.ConvScopeError, match=r"there is no folder .*nothing': name the log directory"):
        log_folders([tmp_path / "nothing"])
