"""Knowing within seconds whether weights can be fetched at all."""

import contextlib
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator

from convscope.errors import LoadError

PATIENCE = 6.0
"""Seconds to wait for an answer before saying that there is no network."""

SILENCE = 10.0
"""Seconds that a server may be silent in the middle of a download."""


@contextlib.contextmanager
def fetching(what: str, url: str) -> Iterator[None]:
    """Run a download within; a failure says what to do instead of a network trace."""
    if not reachable(url):
        raise LoadError(_advice(what, "there is no network"))
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        yield
    except Exception as error:
        raise LoadError(_advice(what, f"{type(error).__name__}: {error}")) from error
    finally:
        socket.setdefaulttimeout(before)


def reachable(url: str) -> bool:
    """Whether the host of ``url``, or the proxy before it, answers within `DELAY` seconds."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    answered = threading.Event()

    def knock() -> None:  # in a thread, because looking up a name has no timeout of its own
        with contextlib.suppress(OSError), socket.create_connection((parts.hostname, parts.port or 443), PATIENCE):
            answered.set()

    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return answered.is_set()


def _advice(what: str, why: str) -> str:
    return (
        f"the weights of {what} could not be fetched ({why}): pass a file with weights=…, "
        f"or take random ones with '{what}?weights=none'"
    )
