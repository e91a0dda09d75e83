"""Clients that leave while the server works for them: nothing is printed, and the server goes on."""

import re
import socket
import struct
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.waiting import TIMEOUT
from tests.web.browsing import workbench

pytest.importorskip("nicegui")

PART = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n" + b"a" * 50_000
)
"""The start of a form with a file."""
END = b"\r\n--x--\r\n"
MAX_REQUESTS = 10_000
"""Requests until a closed tab must be forgotten."""
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def connect(server: str, method: str, path: str, **headers: object) -> socket.socket:
    """A connection on which the head of a request was sent."""
    host, _, port = server.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=TIMEOUT)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", *(f"{k}: {v}" for k, v in headers.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def close(connection: socket.socket) -> None:
    """Leave as a browser does when a tab is closed."""
    connection.close()


def reset(connection: socket.socket) -> None:
    """Leave as a computer does that loses its network: the server gets a connection error."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def upload_path(page: str) -> str:
    """The address to which the upload field of a page sends its files."""
    match = re.search(r"/_nicegui/client/[^\"\\&]+/upload/\d+", page)
    assert match is not None
    return match[0]


def after_the_head(server: str, leave: Callable[[socket.socket], None], upload: str) -> None:
    """Leave before the body is sent."""
    for path in (upload, "/api/v1/images"):
        leave(connect(server, "POST", path, **FORM, **{"Content-Length": 1_000_000}))


def in_the_body(server: str, leave: Callable[[socket.socket], None], upload: str) -> None:
    """Leave in the middle of the body of an upload, and of a request of the API."""
    for path in (upload, "/api/v1/images"):
        connection = connect(server, "POST", path, **FORM, **{"Content-Length": 1_000_000})
        connection.sendall(PART)
        leave(connection)
    connection = connect(server, "POST", "/api/v1/run", **{"Content-Type": "application/json", "Content-Length": 900})
    connection.sendall(b'{"lens":')
    leave(connection)


def before_the_response(server: str, leave: Callable[[socket.socket], None], _upload: str) -> None:
    """Leave while a page is built, or a result is computed."""
    for path in ("/look", "/inside", "/learned", "/compare", "/training", "/nothing"):
        leave(connect(server, "GET", path, Accept="text/html"))
    body = b'{"lens": "integrated-gradients", "image": "sample:shapes/3", "parameters": {"steps": 500}}'
    connection = connect(
        server, "POST", "/api/v1/run", **{"Content-Type": "application/json", "Content-Length": len(body)}
    )
    connection.sendall(body)
    leave(connection)


def in_the_response(server: str, leave: Callable[[socket.socket], None], _upload: str) -> None:
    """Leave at the start and in the middle of a large file."""
    with urlopen(f"{server}/look", timeout=TIMEOUT) as response:
        scripts = re.findall(r"/_nicegui/[^\"' ]+\.(?:js|css)", response.read().decode())
    for path in sorted(set(scripts)):
        for encoding in ("gzip", "identity"):
            leave(connect(server, "GET", path, **{"Accept-Encoding": encoding}))
            connection = connect(server, "GET", path, **{"Accept-Encoding": encoding})
            connection.recv(100)
            leave(connection)


@pytest.mark.parametrize("stage", [after_the_head, in_the_body, before_the_response, in_the_response])
def test_client_that_leaves_early_causes_no_output(stage: Any) -> None:
    with workbench() as server:
        with urlopen(f"{server.address}/look", timeout=TIMEOUT) as page:
            upload = upload_path(page.read().decode())
        for leave in (close, reset):
            stage(server.address, leave, upload)
        urlopen(f"{server.address}/api/v1/models", timeout=TIMEOUT).close()  # the server goes on
    assert server.error_output() == "nothing"


def test_upload_that_ends_after_its_page_was_closed_is_ignored(visit: Any, address: str) -> None:
    page = visit("/look?lens=grad-cam")
    page.wait_for_selector("img.heat")
    path = upload_path(page.content())
    connection = connect(address, "POST", path, **FORM, **{"Content-Length": len(PART + END)})
    connection.sendall(PART)
    page.close()
    gone = any(
        is_gone(f"{address}{path}") for _ in range(MAX_REQUESTS)
    )  # the server tells nobody when it forgets a tab
    assert gone
    connection.sendall(END)
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    connection.close()


def is_gone(link: str) -> bool:
    """Whether the server no longer has this address."""
    try:
        urlopen(Request(link, b"", {"Content-Type": "text/plain"}), timeout=TIMEOUT).close()
    except HTTPError as error:
        error.close()
        return error.code == 404
    return False
