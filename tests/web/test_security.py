"""Access control: the token, the host name, the origin and the size of requests."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from convscope.errors import ParameterError
from convscope.web.server import security
from convscope.web.server.app import build

HERE = "http://127.0.0.1:8000"
TOKEN = "a token, ключ; 密码"
ROUTES = ["/", "/api/v1/models", "/api/v1/openapi.json", "/api/v1/images/sample:shapes/0", "/nothing", "/_nicegui/x"]


def guarded(token: str | None = None, host: str = "127.0.0.1") -> FastAPI:
    """An application with access control, one page, uploads and a websocket."""
    application = FastAPI()

    async def everything(request: Any) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    from fastapi import Request, WebSocket

    everything.__annotations__["request"] = Request
    application.add_api_route("/{path:path}", everything, methods=["GET", "POST"])

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("in")
        await websocket.close()

    application.add_api_websocket_route("/ws", talk)
    application.add_middleware(security.AccessControl, token=token, host=host, port=8000)
    return application


def at(app: FastAPI, base: str = HERE) -> TestClient:
    return TestClient(app, base_url=base, follow_redirects=False)


def bearer(token: str) -> dict[str, Any]:
    """The header as bytes, since a token may have any characters."""
    return {"authorization": b"Bearer " + token.encode()}


@pytest.fixture
def closed(services):
    """A client of a workbench that requires a token."""
    return at(build(services, token=TOKEN, with_pages=False))


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_requires_the_token(closed, route):
    assert closed.get(route).status_code == 401
    assert closed.get(route, headers=bearer("wrong")).status_code == 401
    assert closed.get(route, headers=bearer("")).status_code == 401
    assert closed.get(route, headers={"cookie": f"convscope_8000={TOKEN.encode().hex()}"}).status_code == 401
    assert closed.get(route, params={"token": "wrong"}).status_code == 401
    assert closed.get(route, headers=bearer(TOKEN)).status_code in (200, 404)


def test_missing_token_gives_json_to_programs_and_a_form_to_browsers(closed):
    refused = closed.get("/api/v1/models")
    assert "token" in refused.json()["error"]
    assert refused.headers["www-authenticate"] == "Bearer"
    form = closed.get('/look?lens=lrp&target="><script>', headers={"accept": "text/html"})
    assert form.status_code == 401
    assert 'name="token"' in form.text
    assert 'value="lrp"' in form.text, "whoever shows the token goes on to the same view"
    assert "<script>" not in form.text


def test_token_in_a_link_becomes_a_cookie_and_is_removed_from_the_link(closed):
    response = closed.get("/api/v1/models", params={"token": TOKEN, "target": "a - b"})
    assert response.status_code == 303
    assert response.headers["location"] == "/api/v1/models?target=a+-+b"
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    assert closed.get(response.headers["location"]).status_code == 200, "the cookie is enough from now on"


def test_redirect_stays_on_this_server(closed):
    for path in ("//evil.example/x", "/\\evil.example", "///evil.example"):
        response = closed.get(f"{HERE}{path}", params={"token": TOKEN})
        assert response.headers["location"].startswith("/")
        assert response.headers["location"][1:2] not in ("/", "\\")


def test_tokens_are_compared_in_constant_time(monkeypatch):
    comparisons = []

    def compare(first, second):
        comparisons.append((first, second))
        return False

    client = at(guarded(TOKEN))
    monkeypatch.setattr(secrets, "compare_digest", compare)
    right = secrets.token_hex()
    for headers, query in ((bearer(TOKEN), ""), ({"cookie": f"convscope_8000={right}"}, ""), ({}, f"?token={right}")):
        assert client.get(f"/{query}", headers=headers).status_code == 401, "nothing else lets anybody in"
        assert any(TOKEN.encode() in pair or right.encode() in pair for pair in comparisons), "it was asked"
        comparisons.clear()


def test_websocket_requires_the_token():
    client = at(guarded(TOKEN))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("ws://127.0.0.1:8000/ws"):
        pass
    with client.websocket_connect("ws://127.0.0.1:8000/ws", headers=bearer(TOKEN)) as talk:
        assert talk.receive_text() == "in"
    stranger = {**bearer(TOKEN), "origin": "https://evil.example"}
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("ws://127.0.0.1:8000/ws", headers=stranger):
        pass


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.", "", "[::"]
)
def test_foreign_host_name_is_refused(host):
    assert at(guarded()).get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "LOCALHOST", "[::1]:8000", "[::1]"])
def test_own_host_names_are_accepted(host):
    assert at(guarded()).get("/", headers={"host": host}).status_code == 200


def test_public_server_accepts_ip_addresses_but_no_foreign_names():
    client = at(guarded(TOKEN, "0.0.0.0"))
    assert client.get("/", headers={"host": "192.168.1.7:8000", **bearer(TOKEN)}).status_code == 200
    assert client.get("/", headers={"host": "[fe80::1]:8000", **bearer(TOKEN)}).status_code == 200
    assert client.get("/", headers={"host": "evil.example", **bearer(TOKEN)}).status_code == 421


ELSEWHERE = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:3000"},
    {"origin": "http://localhost:8000"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
]


@pytest.mark.parametrize("headers", ELSEWHERE, ids=range(len(ELSEWHERE)))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_requests_from_other_sites_are_refused(method, headers):
    assert at(guarded()).request(method, "/api/v1/run", headers=headers).status_code == 403


def test_cross_site_navigation_is_allowed_but_cross_site_post_is_not():
    follows = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    client = at(guarded())
    assert client.get("/look", headers=follows).status_code == 200
    assert client.post("/api/v1/run", headers=follows).status_code == 403
    assert client.post("/api/v1/run", headers={"origin": HERE, "sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize(("path", "most"), [("/api/v1/run", security.MAX_BODY), ("/api/v1/images", 33 * 2**20)])
def test_large_request_is_refused_regardless_of_its_declared_length(path, most):
    client = at(guarded())

    def pieces():
        for _ in range(most // 2**18 + 2):
            yield b"\0" * 2**18

    for content in (b"\0" * (most + 1), pieces()):
        refused = client.post(path, content=content)
        assert refused.status_code == 413
        assert "shrink it" in refused.json()["error"]
    assert client.post(path, content=b"\0" * 1000).json() == {"bytes": 1000}


def run(coroutine):
    """Run a coroutine in a thread, since this one may hold the event loop of a browser."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()


def test_body_is_read_up_to_the_limit_only():
    """An endless body is read up to the limit only."""
    received = []

    async def swallow(scope, receive, send):
        while (await receive()).get("type") != "http.disconnect":
            pass

    async def endless():
        received.append(2**16)
        return {"type": "http.request", "body": b"\0" * 2**16, "more_body": True}

    responses = []

    async def send(message):
        responses.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [(b"host", b"localhost")]}
    run(security.AccessControl(swallow, token=None, host="127.0.0.1", port=1)(scope, endless, send))
    assert sum(received) <= security.MAX_BODY + 2**16
    assert responses[0]["status"] == 413


def run_until_disconnect(error):
    """Run an application that raises an error once its client has left."""

    async def application(scope, receive, send):
        assert (await receive())["type"] == "http.disconnect"
        raise error

    async def disconnect():
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError("nobody is there to receive a response")

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [(b"host", b"localhost")]}
    run(security.AccessControl(application, token=None, host="127.0.0.1", port=1)(scope, disconnect, send))


@pytest.mark.parametrize("error", [ClientDisconnect(), RuntimeError(security.NO_RESPONSE)], ids=repr)
def test_client_that_has_left_is_no_error(error):
    run_until_disconnect(error)


@pytest.mark.parametrize("error", [ValueError("a fault"), RuntimeError("a fault")], ids=repr)
def test_fault_is_raised_even_if_the_client_has_left(error):
    with pytest.raises(type(error), match="a fault"):
        run_until_disconnect(error)


def test_security_headers(client):
    headers = client.get("/api/v1/models").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", ""])
def test_public_host_requires_a_token(services, host):
    for token in (None, ""):
        with pytest.raises(ParameterError, match="--token"):
            build(services, host=host, token=token, with_pages=False)
    build(services, host=host, token=TOKEN, with_pages=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_local_host_needs_no_token(services, host):
    build(services, host=host, with_pages=False)
