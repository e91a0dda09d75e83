"""The workbench under load: concurrent Grad-CAM requests, compared with a plain loop over the same images."""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from PIL import Image

import convscope as cs
from benchmarks.measure import Row, report

CLIENTS, REQUESTS, PARTS = 20, 50, 5
"""The requests are sent in parts, alternating with the plain loop, so that both see the same load of the machine."""
WARM_UP = 100
"""The number of warm-up requests before memory and time are measured."""


def web(rounds: int) -> list[Row]:
    """20 clients × 50 Grad-CAM requests, each with a different image, on ``bundled:shapes``."""
    with tempfile.TemporaryDirectory() as folder:
        paths = _write_images(Path(folder), WARM_UP + CLIENTS * REQUESTS)
        with served(folder) as (address, process):
            images = [f"folder:0/{path.name}" for path in paths]
            asyncio.run(_send_requests(address, images[:WARM_UP]))
            _plain_loop(paths[:CLIENTS])
            before, errors, ratios = _resident_memory(process), 0, []
            for first in range(WARM_UP, len(paths), CLIENTS * REQUESTS // PARTS):
                chunk = slice(first, first + CLIENTS * REQUESTS // PARTS)
                seconds, failed = asyncio.run(_send_requests(address, images[chunk]))
                errors += failed
                ratios.append(_plain_loop(paths[chunk]) / seconds)
            growth = _resident_memory(process) - before
    title = f"Workbench, {CLIENTS} clients × {REQUESTS} Grad-CAM requests"
    rows = [
        (f"{title}: errors", "ConvScope", str(errors), "0"),
        (
            f"{title}: throughput in that of a plain loop over batches of {CLIENTS}",
            "ConvScope",
            f"{statistics.median(ratios):.2f}",
            "≥ 0.7",
        ),
        (f"{title}: growth of memory, MB (results kept within 512)", "ConvScope", f"{growth / 2**20:.0f}", "≤ 512"),
    ]
    return report(rows)


async def _send_requests(address: str, images: list[str]) -> tuple[float, int]:
    """The seconds until all requests are answered, and the number of failed ones."""
    remaining, errors = list(images), 0

    async def one_client() -> None:
        nonlocal errors
        host, port = address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        while remaining:
            status, content = await _post(reader, writer, {"lens": "grad-cam", "image": remaining.pop()})
            errors += status != 200 or not content.startswith(b"PK")
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(CLIENTS)))
    return time.perf_counter() - start, errors


async def _post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: dict[str, str]
) -> tuple[int, bytes]:
    """Send one request and return status and content, with little work, since clients share the server's two cores."""
    body = json.dumps(request).encode()
    head = (
        "POST /api/v1/run?wait=60&give=npz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    response_head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(response_head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(response_head.split()[1]), await reader.readexactly(length)


def _plain_loop(files: list[Path]) -> float:
    """The seconds that a loop over batches takes, with each value saved, as the server does."""
    model, paths = cs.load("bundled:shapes"), [str(file) for file in files]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, len(paths), CLIENTS):
            for value in cs.grad_cam(model, paths[first : first + CLIENTS]):
                value.save(Path(folder) / "value.npz")
    return time.perf_counter() - start


def _write_images(folder: Path, count: int) -> list[Path]:
    paths = []
    for number in range(count):
        paths.append(folder / f"{number:04}.png")
        Image.fromarray(cs.sample(f"shapes/{number}").image).save(paths[-1], compress_level=1)
    return paths


@contextmanager
def served(folder: str = "") -> Iterator[tuple[str, int]]:
    """A server in a separate process, with a folder of images; yields its address and process id."""
    with socket.socket() as free_socket:
        free_socket.bind(("127.0.0.1", 0))
        port = free_socket.getsockname()[1]
    arguments = ["serve", "--no-show", "--port", str(port), *(["--input", folder] if folder else [])]
    code = "from convscope.cli import main; main()"
    server = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(address)
        yield address, server.pid
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{address}/api/v1/models").raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise TimeoutError(f"no server at {address}")


def _resident_memory(process: int) -> int:
    """The resident memory of a process in bytes."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
