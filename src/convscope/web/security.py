"""Who may come in: by token, by the name the server is called, by where a request comes from, by its size.

Pages of strangers that are open in the same browser can send requests to this machine too. They are kept out by three
things: the name they call the server by must be its own (else a name of theirs could be pointed here), what they send
says where it comes from, and a cookie is not sent along with it.
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

from convscope.errors import ParameterError
from convscope.web.assets import MAX_UPLOAD

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

AROUND = 64 * 2**10
"""Bytes of a form around an uploaded file."""
MAX_BODY = 2**20
"""Bytes of any other request."""
HEARD_OUT = 256 * 2**20
"""Bytes of a request too large that are let pass unread, for a browser hears no answer before all is sent."""
UPLOADS = ("/api/v1/images", "/_nicegui/client/")
"""Where files are sent to."""
NO_RESPONSE = "No response returned."
"""What the framework raises when a browser goes on to another page before this one is made."""
LOCAL = ("localhost", "127.0.0.1", "[::1]")

HEADERS = {
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'self'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "accept-ch": "Sec-CH-Prefers-Color-Scheme",
}
"""Said with every answer: nothing is fetched from elsewhere, and no other page can frame these."""


def is_local(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_open_door(host: str, token: str | None) -> None:
    """Refuse to listen where others could come in without a token.

    Raises:
        ParameterError: another machine could come in unasked.
    """
    if not is_local(host) and not token:
        raise ParameterError(
            f"at {host!r} other machines can come in: name a --token (or set CONVSCOPE_TOKEN), or stay at 127.0.0.1"
        )


class Access:
    """The door before an application: every request and every websocket passes through it.

    Args:
        within: the application.
        token: what must be shown; anybody may come in where there is none.
        host: where the server listens.
        port: its port, which tells its cookie from that of another server on this machine.
    """

    def __init__(self, within: Application, *, token: str | None, host: str, port: int) -> None:
        refuse_open_door(host, token)
        self.within, self.host = within, host.lower()
        self.token = token.encode() if token else b""
        self.cookie = f"convscope_{port}"
        self.ticket = hashlib.sha256(b"convscope" + self.token).hexdigest().encode()
        self.anywhere = not is_local(host)
        self.names = {*LOCAL, self.host, f"[{self.host}]"}
        if self.anywhere:
            self.names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.within(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value for name, value in scope["headers"]}
        if not self._calls_us_by_name(headers):
            await _refuse(scope, send, 421, "this server does not go by that name")
        elif _is_from_elsewhere(scope, headers):
            await _refuse(scope, send, 403, "requests from other sites are refused")
        elif self.token and self._shows_in_link(scope):
            await self._let_in(scope, send)
        elif self.token and not self._has_token(headers):
            await _ask(scope, headers, send)
        else:
            await _within_limit(self.within, scope, headers, receive, _with_headers(send))

    def _calls_us_by_name(self, headers: dict[str, bytes]) -> bool:
        host = headers.get("host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
        if name in self.names:
            return True
        return self.anywhere and _is_number(name.strip("[]"))  # numbers cannot be pointed elsewhere

    def _has_token(self, headers: dict[str, bytes]) -> bool:
        kind, _, shown = headers.get("authorization", b"").partition(b" ")
        if kind.lower() == b"bearer" and secrets.compare_digest(shown.strip(), self.token):
            return True
        try:
            kept = SimpleCookie(headers.get("cookie", b"").decode("latin-1")).get(self.cookie)
        except CookieError:
            return False
        return kept is not None and secrets.compare_digest(kept.value.encode(), self.ticket)

    def _shows_in_link(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] != "GET":
            return False
        shown = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token", "")
        return secrets.compare_digest(shown.encode(), self.token)

    async def _let_in(self, scope: Scope, send: Send) -> None:
        """Keep the ticket in a cookie and go on without the token, so that it stays in no history."""
        rest = [pair for pair in parse_qsl(scope["query_string"].decode("latin-1")) if pair[0] != "token"]
        place = "/" + scope["path"].lstrip("/\\")  # two slashes would lead to another server
        to = _quoted(place) + (f"?{urlencode(rest)}" if rest else "")
        kept = f"{self.cookie}={self.ticket.decode()}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"
        await _answer(send, 303, b"", {"location": to, "set-cookie": kept, "cache-control": "no-store"})


def _is_from_elsewhere(scope: Scope, headers: dict[str, bytes]) -> bool:
    """Whether a page of another site sent this; following a link from there is fine."""
    origin = headers.get("origin", b"").decode("latin-1").lower()
    if origin:
        return origin.partition("://")[2] != headers.get("host", b"").decode("latin-1").lower()
    if headers.get("sec-fetch-site", b"none") in (b"none", b"same-origin"):
        return False
    follows_link = headers.get("sec-fetch-mode") == b"navigate" and headers.get("sec-fetch-dest") == b"document"
    return not (scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and follows_link)


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path, safe="/:@,+~")


async def _within_limit(
    within: Application, scope: Scope, headers: dict[str, bytes], receive: Receive, send: Send
) -> None:
    """Pass a request on and count its bytes as they come, whatever it says of its length."""
    if scope["type"] != "http":
        await within(scope, receive, send)
        return
    most = MAX_UPLOAD + AROUND if scope["path"].startswith(UPLOADS) else MAX_BODY
    said = headers.get("content-length", b"")
    sentence = f"the request has more than {most / 2**20:.0f} MB: shrink it"
    if said.isdigit() and int(said) > most:
        if int(said) <= HEARD_OUT:
            await _hear_out(receive)
        await _refuse(scope, send, 413, sentence)
        return
    seen, began, left = 0, False, False

    async def counted() -> MutableMapping[str, Any]:
        nonlocal seen, left
        message = await receive()
        seen += len(message.get("body", b""))
        left = message["type"] == "http.disconnect"
        return {"type": "http.disconnect"} if seen > most else message

    async def unless_too_large(message: MutableMapping[str, Any]) -> None:
        nonlocal began
        if seen <= most or began:
            began = True
            await send(message)

    try:
        await within(scope, counted, unless_too_large)
    except Exception as error:
        unheard = left and str(error) == NO_RESPONSE
        if seen <= most and not unheard:
            raise
    if seen > most and not began:
        await _refuse(scope, send, 413, sentence)


async def _hear_out(receive: Receive) -> None:
    """Take in the rest of a request and keep none of it."""
    seen, more = 0, True
    while more and seen <= HEARD_OUT:
        message = await receive()
        seen += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


async def _ask(scope: Scope, headers: dict[str, bytes], send: Send) -> None:
    """Ask for the token: a browser with a form, a program with a sentence."""
    if scope["type"] == "http" and scope["method"] == "GET" and b"text/html" in headers.get("accept", b""):
        asked = parse_qsl(scope["query_string"].decode("latin-1"))
        hidden = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in asked
            if name != "token"
        )
        wrong = any(name == "token" for name, _ in asked)
        lang = "zh" if headers.get("accept-language", b"").startswith(b"zh") else "en"
        await _answer(send, 401, _form(lang, hidden, wrong).encode(), {"content-type": "text/html; charset=utf-8"})
    else:
        sentence = "this server asks for its token: send it as 'Authorization: Bearer TOKEN'"
        await _refuse(scope, send, 401, sentence, {"www-authenticate": "Bearer"})


def _form(lang: str, hidden: str, wrong: bool) -> str:
    from convscope.render import THEMES
    from convscope.web.i18n import say

    light, dark = (
        " ".join(f"--{part}: {getattr(THEMES[name], part)};" for part in ("page", "text", "line", "accent", "warning"))
        for name in ("light", "dark")
    )
    no = f'<p role="alert">{html.escape(say("That is not the token.", lang))}</p>' if wrong else ""
    title, button = say("This workbench asks for its token", lang), say("Open", lang)
    where = say("It was chosen when the server was started, with --token or CONVSCOPE_TOKEN.", lang)
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
<h1>{html.escape(title)}</h1><p>{html.escape(where)}</p>{no}
<form>{hidden}<input name="token" type="password" autofocus autocomplete="current-password"
 aria-label="{html.escape(title)}"><button>{html.escape(button)}</button></form>"""


async def _refuse(scope: Scope, send: Send, status: int, sentence: str, more: dict[str, str] | None = None) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": sentence})
        return
    body = json.dumps({"error": sentence}).encode()
    await _answer(send, status, body, {"content-type": "application/json", **(more or {})})


async def _answer(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    told = {**HEADERS, "content-length": str(len(body)), **headers}
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    """Say `HEADERS` with the answer."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            more = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in present]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending
