"""Shared fixtures: small models, images, and libraries that need preparation before their import."""

import gc
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.loaders.torchvision import library
from convscope.render.canvas import Canvas
from tests import nets
from tests.lens_calls import DrawnText
from tests.marks import longest_files_first, mark_by_use
from tests.nets import LABELS, MEAN, SIDE, STD, PlainNet, seeded

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first draws pages only, the others also a window around them, which doubles the CPU time."""
CHROMIUM = next((path for name in BROWSERS if (path := shutil.which(name))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # what a page loads from elsewhere fails, with an error
    "--renderer-process-limit=1",  # pages of one site share a process, and with it their compiled scripts
]

ASSETS = Path(__file__).parents[2] / "shared/assets"

torch.set_num_threads(1)  # threads do not speed up tiny networks and slow down parallel workers


@pytest.fixture(scope="session", autouse=True)
def default_interrupt_handler() -> Iterator[None]:
    """Restore Python's handler for interrupts, which background jobs of a shell inherit as ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of photographs and weights, which may be missing in a checkout."""
    if not ASSETS.is_dir():
        pytest.skip(f"the shared assets are missing ({ASSETS})")
    return ASSETS


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision, even if its compiled operators do not match the build of torch."""
    return library()


@pytest.fixture(scope="session")
def peers(torchvision: ModuleType) -> ModuleType:
    """The reference libraries that results are compared with; two of them import torchvision."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ignore the warnings of their imports
        from tests.twins import peers
    return peers


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium. This thread then has a running event loop, so that ``asyncio.run`` needs another one."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine (apt-get install chromium-headless-shell)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def model(request: pytest.FixtureRequest) -> cs.Model:
    """A small network for color images that every lens can explain: with attention for a lens that needs it."""
    return picture_model(seeded(network_for(request, PlainNet)))


def network_for(
    request: pytest.FixtureRequest, build: Callable[..., torch.nn.Module]
) -> Callable[..., torch.nn.Module]:
    """A network like that one which the lens ``spec`` of a test can explain."""
    spec = getattr(getattr(request.node, "callspec", None), "params", {}).get("spec")
    return build if spec is None else nets.build_for(spec, build)


@pytest.fixture
def pictures() -> list[np.ndarray]:
    """Three random images: uint8, (height, width, 3)."""
    return list(np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8))


@pytest.fixture
def picture(pictures: list[np.ndarray]) -> np.ndarray:
    """One random image."""
    return pictures[0]


def picture_model(net: torch.nn.Module) -> cs.Model:
    """A network as a `Model` with preprocessing and labels."""
    return cs.Model(net, input=cs.ImageInput(size=SIDE, mean=MEAN, std=STD), labels=LABELS)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--device cuda``, for ``tests/conformance``, which passes on any device."""
    parser.addoption("--device", default="cpu", help="the device of the networks in tests/conformance")


def pytest_configure(config: pytest.Config) -> None:
    """Put the networks of the tests on the requested device."""
    nets.DEVICE = torch.device(config.getoption("--device"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests by what they use; workers take the files that last longest first."""
    mark_by_use(items)
    if hasattr(config, "workerinput"):
        longest_files_first(items)


def pytest_collection_finish() -> None:
    """Take modules and collected tests out of garbage collection, which would scan them again and again."""
    gc.collect()
    gc.freeze()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Test names without memory addresses, since all workers must collect the same names."""
    return argname if " at 0x" in repr(val) and not getattr(val, "__name__", "").isidentifier() else None


@pytest.fixture
def drawn_texts(monkeypatch: pytest.MonkeyPatch) -> list[DrawnText]:
    """The texts that are rendered on pictures during the test."""
    texts: list[DrawnText] = []
    write = Canvas.text

    def text(self: Canvas, x: float, y: float, words: str, **style: Any) -> float:
        rendered = DrawnText(words)
        rendered.colour = style.get("colour", "")
        texts.append(rendered)
        return write(self, x, y, words, **style)

    monkeypatch.setattr(Canvas, "text", text)
    return texts
