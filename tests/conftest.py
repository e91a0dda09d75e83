"""What many tests share: tiny models, pictures, and libraries that need care to import."""

import shutil
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.loaders.torchvision import library
from convscope.render.canvas import Sheet
from tests import nets
from tests.looking import Written
from tests.nets import LABELS, MEAN, SIDE, STD, PlainNet, seeded

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]

ASSETS = Path(__file__).parents[2] / "shared/assets"

torch.set_num_threads(1)  # tiny networks gain nothing from threads, and parallel workers lose by them


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heeded() -> Iterator[None]:
    """A shell starts what runs in its background with interrupts ignored, and every process hands that on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real photographs and weights, which a checkout may lack."""
    if not ASSETS.is_dir():
        pytest.skip(f"the shared assets are not here ({ASSETS})")
    return ASSETS


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision, with the operators declared that its import asks about."""
    return library()


@pytest.fixture(scope="session")
def peers(torchvision: ModuleType) -> ModuleType:
    """The libraries that ConvScope's numbers are compared with; two of them import torchvision on their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they warn of while they are imported is not ours
        from tests.twins import peers
    return peers


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def model() -> cs.Model:
    """A tiny network of colour images that every lens can explain."""
    return picture_model(seeded(PlainNet))


@pytest.fixture
def pictures() -> list[np.ndarray]:
    """Three pictures as people have them: uint8, (height, width, 3)."""
    return list(np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8))


@pytest.fixture
def picture(pictures: list[np.ndarray]) -> np.ndarray:
    """One of them."""
    return pictures[0]


def picture_model(net: torch.nn.Module) -> cs.Model:
    """A tiny network with what it takes to feed it pictures and to read its answers."""
    return cs.Model(net, input=cs.ImageInput(size=SIDE, mean=MEAN, std=STD), labels=LABELS)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--device cuda`` runs networks there: for ``tests/test_conformance.py``, which holds on any device."""
    parser.addoption("--device", default="cpu", help="where the networks of tests/test_conformance.py are put")


def pytest_configure(config: pytest.Config) -> None:
    """Have all networks of the tests on the device asked for."""
    nets.DEVICE = torch.device(config.getoption("--device"))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names without addresses: workers must collect the same names."""
    return argname if " at 0x" in repr(val) and not getattr(val, "__name__", "").isidentifier() else None


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Written]:
    """What is written on pictures from here on."""
    found: list[Written] = []
    write = Sheet.text

    def text(self: Sheet, x: float, y: float, words: str, **look: Any) -> float:
        written = Written(words)
        written.colour = look.get("colour", "")
        found.append(written)
        return write(self, x, y, words, **look)

    monkeypatch.setattr(Sheet, "text", text)
    return found
