"""Access control: the token, the host name, the origin and the size of requests.

Other web pages that are open in the same browser can send requests to this server too. Three checks keep them out: the
host name must be one of the server's (otherwise DNS rebinding could point a foreign name here), requests from other
origins are refused, and the cookie is not sent with them (``SameSite``).
"""

import hashlib
import html
import ipaddress
import json
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import ClientDisconnect

from convscope.errors import ParameterError
from convscope.web.requests.models_and_images import MAX_UPLOAD

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

FORM_OVERHEAD = 64 * 2**10
"""Bytes that a form adds to an uploaded file, at most."""
MAX_BODY = 2**20
"""Bytes of any other request, at most."""
MAX_DISCARDED = 256 * 2**20
"""Bytes of a request that is too large that are read and discarded: browsers read no response before they sent all."""
UPLOAD_PATHS = ("/api/v1/images", "/_nicegui/client/")
"""The paths that accept uploads."""
NO_RESPONSE = "No response returned."
"""The message of the framework's error when a client leaves before a file is sent."""
LOCAL = ("localhost", "127.0.0.1", "[::1]")

HEADERS = {
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'self'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "accept-ch": "Sec-CH-Prefers-Color-Scheme",
}
"""Headers of every response: pages load nothing from other servers, and no other page can embed them."""


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server at this address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_token_unless_local(host: str, token: str | None) -> None:
    """Refuse to listen where other machines could connect without a token.

    Raises:
        ParameterError: other machines could connect, and there is no token.
    """
    if not is_local(host) and not token:
        raise ParameterError(
            f"other machines can reach {host!r}: set a --token (or CONVSCOPE_TOKEN), or listen at 127.0.0.1"
        )


class AccessControl:
    """ASGI middleware that checks every request and every websocket.

    Args:
        app: the application.
        token: the access token; without one, all requests are allowed.
        host: the address at which the server listens.
        port: its port, which is part of the cookie's name, since cookies are shared by all ports of a host.
    """

    def __init__(self, app: Application, *, token: str | None, host: str, port: int) -> None:
        require_token_unless_local(host, token)
        self.app, self.host = app, host.lower()
        self.token = token.encode() if token else b""
        self.cookie = f"convscope_{port}"
        self.cookie_value = hashlib.sha256(b"convscope" + self.token).hexdigest().encode()
        self.public = not is_local(host)
        self.host_names = {*LOCAL, self.host, f"[{self.host}]"}
        if self.public:
            self.host_names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value for name, value in scope["headers"]}
        if not self._is_own_host(headers):
            await _send_error(scope, send, 421, "this server does not answer to that host name")
        elif _is_cross_site(scope, headers):
            await _send_error(scope, send, 403, "requests from other sites are refused")
        elif self.token and self._has_token_in_link(scope):
            await self._set_cookie(scope, send)
        elif self.token and not self._has_token(headers):
            await _ask_for_token(scope, headers, send)
        else:
            await _limit_size(self.app, scope, headers, receive, _with_headers(send))

    def _is_own_host(self, headers: dict[str, bytes]) -> bool:
        host = headers.get("host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
        if name in self.host_names:
            return True
        return self.public and _is_ip_address(name.strip("[]"))  # DNS rebinding needs a name

    def _has_token(self, headers: dict[str, bytes]) -> bool:
        kind, _, token = headers.get("authorization", b"").partition(b" ")
        if kind.lower() == b"bearer" and secrets.compare_digest(token.strip(), self.token):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", b"").decode("latin-1")).get(self.cookie)
        except CookieError:
            return False
        return cookie is not None and secrets.compare_digest(cookie.value.encode(), self.cookie_value)

    def _has_token_in_link(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] != "GET":
            return False
        token = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token", "")
        return secrets.compare_digest(token.encode(), self.token)

    async def _set_cookie(self, scope: Scope, send: Send) -> None:
        """Set the cookie and redirect to the link without the token, so that the token stays out of the history."""
        rest = [pair for pair in parse_qsl(scope["query_string"].decode("latin-1")) if pair[0] != "token"]
        path = "/" + scope["path"].lstrip("/\\")  # two slashes would redirect to another server
        location = _quote_path(path) + (f"?{urlencode(rest)}" if rest else "")
        cookie = f"{self.cookie}={self.cookie_value.decode()}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"
        await _send_response(send, 303, b"", {"location": location, "set-cookie": cookie, "cache-control": "no-store"})


def _is_cross_site(scope: Scope, headers: dict[str, bytes]) -> bool:
    """Whether a page of another site sent this request; following a link from there is allowed."""
    origin = headers.get("origin", b"").decode("latin-1").lower()
    if origin:
        return origin.partition("://")[2] != headers.get("host", b"").decode("latin-1").lower()
    if headers.get("sec-fetch-site", b"none") in (b"none", b"same-origin"):
        return False
    is_navigation = headers.get("sec-fetch-mode") == b"navigate" and headers.get("sec-fetch-dest") == b"document"
    return not (scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and is_navigation)


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _quote_path(path: str) -> str:
    from urllib.parse import quote

    return quote(path, safe="/:@,+~")


async def _limit_size(app: Application, scope: Scope, headers: dict[str, bytes], receive: Receive, send: Send) -> None:
    """Pass a request on and count its bytes as they arrive, regardless of the declared length."""
    if scope["type"] != "http":
        await app(scope, receive, send)
        return
    limit = MAX_UPLOAD + FORM_OVERHEAD if scope["path"].startswith(UPLOAD_PATHS) else MAX_BODY
    declared = headers.get("content-length", b"")
    message = f"the request has more than {limit / 2**20:.0f} MB: shrink it"
    if declared.isdigit() and int(declared) > limit:
        if int(declared) <= MAX_DISCARDED:
            await _discard(receive)
        await _send_error(scope, send, 413, message)
        return
    received, started, disconnected = 0, False, False

    async def counted() -> MutableMapping[str, Any]:
        nonlocal received, disconnected
        event = await receive()
        received += len(event.get("body", b""))
        disconnected = disconnected or event["type"] == "http.disconnect"
        return {"type": "http.disconnect"} if received > limit else event

    async def send_unless_too_large(event: MutableMapping[str, Any]) -> None:
        nonlocal started
        if received <= limit or started:
            started = True
            await send(event)

    try:
        await app(scope, counted, send_unless_too_large)
    except Exception as error:
        if received <= limit and not (disconnected and _is_disconnect(error)):
            raise
    if received > limit and not started:
        await _send_error(scope, send, 413, message)


def _is_disconnect(error: Exception) -> bool:
    """Whether an error only says that the client has left: during its upload, or before the response was sent."""
    return isinstance(error, ClientDisconnect) or (isinstance(error, RuntimeError) and str(error) == NO_RESPONSE)


async def _discard(receive: Receive) -> None:
    """Read the rest of a request and discard it."""
    received, more = 0, True
    while more and received <= MAX_DISCARDED:
        message = await receive()
        received += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


async def _ask_for_token(scope: Scope, headers: dict[str, bytes], send: Send) -> None:
    """Ask for the token: browsers by a form, programs by a JSON error."""
    if scope["type"] == "http" and scope["method"] == "GET" and b"text/html" in headers.get("accept", b""):
        query = parse_qsl(scope["query_string"].decode("latin-1"))
        hidden = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in query
            if name != "token"
        )
        wrong = any(name == "token" for name, _ in query)
        lang = "zh" if headers.get("accept-language", b"").startswith(b"zh") else "en"
        await _send_response(
            send, 401, _form(lang, hidden, wrong).encode(), {"content-type": "text/html; charset=utf-8"}
        )
    else:
        message = "this server requires an access token: send it as 'Authorization: Bearer TOKEN'"
        await _send_error(scope, send, 401, message, {"www-authenticate": "Bearer"})


def _form(lang: str, hidden: str, wrong: bool) -> str:
    from convscope.render import THEMES
    from convscope.web.i18n import translate

    light, dark = (
        " ".join(f"--{part}: {getattr(THEMES[name], part)};" for part in ("page", "text", "line", "accent", "warning"))
        for name in ("light", "dark")
    )
    error = f'<p role="alert">{html.escape(translate("This token is wrong.", lang))}</p>' if wrong else ""
    title, button = translate("This workbench requires an access token", lang), translate("Open", lang)
    hint = translate("It was set when the server was started, with --token or CONVSCOPE_TOKEN.", lang)
    return f"""<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>ConvScope</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<style>
:root {{{light}}}
@media (prefers-color-scheme: dark) {{:root {{{dark}}}}}
body {{font: 15px/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; padding: 0 16px;
  background: var(--page); color: var(--text)}}
h1 {{font-size: 22px; line-height: 1.25}}
input, button {{font: inherit; padding: 8px 12px; border: 1px solid var(--line); border-radius: 6px;
  background: var(--page); color: var(--text)}}
input {{width: 100%; box-sizing: border-box}}
button {{margin-top: 12px; background: var(--accent); border-color: var(--accent); color: var(--page); cursor: pointer}}
:focus-visible {{outline: 3px solid var(--accent); outline-offset: 2px}}
[role=alert] {{color: var(--warning); font-weight: 600}}
</style>
<h1>{html.escape(title)}</h1><p>{html.escape(hint)}</p>{error}
<form>{hidden}<input name="token" type="password" autofocus autocomplete="current-password"
 aria-label="{html.escape(title)}"><button>{html.escape(button)}</button></form>"""


async def _send_error(
    scope: Scope, send: Send, status: int, message: str, headers: dict[str, str] | None = None
) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": message})
        return
    body = json.dumps({"error": message}).encode()
    await _send_response(send, status, body, {"content-type": "application/json", **(headers or {})})


async def _send_response(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    all_headers = {**HEADERS, "content-length": str(len(body)), **headers}
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in all_headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    """Add `HEADERS` to the response."""

    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            missing = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in present]
            message = {**message, "headers": [*message["headers"], *missing]}
        await send(message)

    return send_with_headers
