"""The workbench under load: many programs that ask for Grad-CAM at once, against a plain loop over the same images."""

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
from benchmarks.measure import Row, said

CLIENTS, EACH, PARTS = 20, 50, 5
"""The requests are made in parts, with the plain loop over the same images between, so that both are slowed alike."""
WARM = 100
"""Requests before memory and time are looked at."""


def web(rounds: int) -> list[Row]:
    """20 clients × 50 Grad-CAM requests, each of an image of its own, on ``bundled:shapes``."""
    with tempfile.TemporaryDirectory() as folder:
        paths = _pictures(Path(folder), WARM + CLIENTS * EACH)
        with served(folder) as (address, process):
            keys = [f"folder:0/{path.name}" for path in paths]
            asyncio.run(_ask(address, keys[:WARM]))
            _plain(paths[:CLIENTS])
            before, errors, ratios = _resident(process), 0, []
            for first in range(WARM, len(paths), CLIENTS * EACH // PARTS):
                part = slice(first, first + CLIENTS * EACH // PARTS)
                took, failed = asyncio.run(_ask(address, keys[part]))
                errors += failed
                ratios.append(_plain(paths[part]) / took)
            grown = _resident(process) - before
    what = f"Workbench, {CLIENTS} clients × {EACH} Grad-CAM requests"
    rows = [
        (f"{what}: errors", "ConvScope", str(errors), "0"),
        (
            f"{what}: throughput in that of a plain loop over batches of {CLIENTS}",
            "ConvScope",
            f"{statistics.median(ratios):.2f}",
            "≥ 0.7",
        ),
        (f"{what}: growth of memory, MB (results kept within 512)", "ConvScope", f"{grown / 2**20:.0f}", "≤ 512"),
    ]
    return said(rows)


async def _ask(address: str, keys: list[str]) -> tuple[float, int]:
    """Seconds until all have their numbers, and how many had none."""
    waiting, errors = list(keys), 0

    async def one_client() -> None:
        nonlocal errors
        host, port = address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        while waiting:
            status, content = await _posted(reader, writer, {"lens": "grad-cam", "image": waiting.pop()})
            errors += status != 200 or not content.startswith(b"PK")
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(CLIENTS)))
    return time.perf_counter() - started, errors


async def _posted(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[str, str]
) -> tuple[int, bytes]:
    """One request and its answer, with as little work as can be: the clients share the server's two cores."""
    body = json.dumps(asked).encode()
    head = (
        "POST /api/v1/run?wait=60&give=npz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    told = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(told.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(told.split()[1]), await reader.readexactly(length)


def _plain(files: list[Path]) -> float:
    """Seconds that a loop over batches takes, each value written to memory's file system as the server does."""
    model, paths = cs.load("bundled:shapes"), [str(file) for file in files]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, len(paths), CLIENTS):
            for value in cs.grad_cam(model, paths[first : first + CLIENTS]):
                value.save(Path(folder) / "value.npz")
    return time.perf_counter() - started


def _pictures(folder: Path, count: int) -> list[Path]:
    paths = []
    for number in range(count):
        paths.append(folder / f"{number:04}.png")
        Image.fromarray(cs.sample(f"shapes/{number}").image).save(paths[-1], compress_level=1)
    return paths


@contextmanager
def served(folder: str = "") -> Iterator[tuple[str, int]]:
    """A server in a process of its own, with a folder of images: its address and the number of the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", "--no-show", "--port", str(port), *(["--input", folder] if folder else [])]
    code = "from convscope.cli import main; main()"
    server = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _until_up(address)
        yield address, server.pid
    finally:
        server.terminate()
        server.wait(timeout=30)


def _until_up(address: str) -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        try:
            httpx.get(f"{address}/api/v1/models").raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise TimeoutError(f"no server at {address}")


def _resident(process: int) -> int:
    """Bytes of memory a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
