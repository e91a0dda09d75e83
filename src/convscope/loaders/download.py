"""Downloads of weights, with a check within seconds whether the server can be reached."""

import contextlib
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator

from convscope.errors import LoadError

CONNECT_TIMEOUT = 6.0
"""Seconds to wait for a connection before reporting that there is no network."""

READ_TIMEOUT = 10.0
"""Seconds to wait for data during a download."""


@contextlib.contextmanager
def downloading(address: str, url: str) -> Iterator[None]:
    """Context manager for a download; a failure is reported with a remedy instead of a traceback.

    Args:
        address: the address of the model.
        url: the URL of its weights.
    """
    if not is_reachable(url):
        raise LoadError(_message(address, "there is no network"))
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(READ_TIMEOUT)
    try:
        yield
    except Exception as error:
        raise LoadError(_message(address, f"{type(error).__name__}: {error}")) from error
    finally:
        socket.setdefaulttimeout(previous)


def is_reachable(url: str) -> bool:
    """Whether the host of ``url``, or the proxy before it, accepts a connection within `CONNECT_TIMEOUT` seconds."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    connected = threading.Event()

    def connect() -> None:  # in a thread, because name resolution has no timeout
        with (
            contextlib.suppress(OSError),
            socket.create_connection((parts.hostname, parts.port or 443), CONNECT_TIMEOUT),
        ):
            connected.set()

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_TIMEOUT)
    return connected.is_set()


def _message(address: str, reason: str) -> str:
    return (
        f"the weights of {address} could not be fetched ({reason}): pass a file with weights=…, "
        f"or use random weights with '{address}?weights=none'"
    )
