"""Downloads that fail: refused, silent and unreachable servers."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import convscope as cs
from convscope.errors import LoadError
from convscope.loaders import download
from tests.waiting import TIMEOUT


def _refuse_connection(*_: Any, **__: Any) -> Any:
    raise OSError("network is unreachable")


@pytest.fixture
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """A replacement for ``socket.create_connection`` that is refused, or waits until the test ends."""
    finished = threading.Event()

    def silence(*_: Any, **__: Any) -> Any:
        finished.wait(TIMEOUT)
        raise OSError("timed out")

    yield silence if request.param == "silent" else _refuse_connection
    finished.set()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(download, "CONNECT_TIMEOUT", 0.3)


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("connect", ["refused", "silent"], indirect=True)
@pytest.mark.parametrize("address", ["torchvision:resnet18", "timm:convnext_atto"])
def test_a_missing_network_is_reported_quickly_with_a_remedy(
    address: str, connect: Any, monkeypatch: pytest.MonkeyPatch, torchvision: Any
) -> None:
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(
        LoadError,
        match=f"weights of {address} could not be fetched .*no network.*pass a file.*'{address}.weights=none'",
    ) as caught:
        cs.load(address)
    assert "\n" not in str(caught.value)


def test_the_connection_timeout_is_below_ten_seconds() -> None:
    assert download.CONNECT_TIMEOUT < 8


@pytest.mark.usefixtures("empty_cache")
def test_a_failed_download_is_reported_in_the_same_way(
    monkeypatch: pytest.MonkeyPatch, torchvision: ModuleType
) -> None:
    def reset_connection(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(download, "is_reachable", lambda url: True)
    monkeypatch.setattr(torch.hub, "download_url_to_file", reset_connection)
    with pytest.raises(LoadError, match=r"could not be fetched \(ConnectionResetError: reset by peer\): pass a file"):
        cs.load("torchvision:resnet18")


@pytest.mark.usefixtures("empty_cache")
def test_a_silent_server_times_out(monkeypatch: pytest.MonkeyPatch, torchvision: ModuleType) -> None:
    """A proxy may accept the connection and send nothing, so the download has a timeout too."""
    limits: list[float | None] = []

    def urlopen(*_: Any, **__: Any) -> None:
        limits.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    monkeypatch.setattr(download, "is_reachable", lambda url: True)
    monkeypatch.setattr(torch.hub, "urlopen", urlopen)
    with pytest.raises(LoadError, match="could not be fetched"):
        cs.load("torchvision:resnet18")
    assert limits[0] is not None
    assert limits[0] < 60
    assert socket.getdefaulttimeout() is None
