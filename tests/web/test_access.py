"""Who may come in: every route and every websocket asks for the token, the name, the origin and the size."""

import asyncio
import secrets

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from convscope.errors import ParameterError
from convscope.web import security
from convscope.web.app import build

HERE = "http://127.0.0.1:8000"
TOKEN = "a token, ключ; 密码"
ROUTES = ["/", "/api/v1/models", "/api/v1/openapi.json", "/api/v1/images/sample:shapes/0", "/nothing", "/_nicegui/x"]


def guarded(token: str | None = None, host: str = "127.0.0.1") -> FastAPI:
    """A door before a page, a place for uploads and a websocket."""
    made = FastAPI()

    async def everything(request: security.Any) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    from fastapi import Request, WebSocket

    everything.__annotations__["request"] = Request
    made.add_api_route("/{path:path}", everything, methods=["GET", "POST"])

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("in")
        await websocket.close()

    made.add_api_websocket_route("/ws", talk)
    made.add_middleware(security.Access, token=token, host=host, port=8000)
    return made


def at(app: FastAPI, base: str = HERE) -> TestClient:
    return TestClient(app, base_url=base, follow_redirects=False)


def bearer(token: str) -> dict[str, bytes]:
    return {"authorization": b"Bearer " + token.encode()}


@pytest.fixture
def closed(bench):
    """The workbench behind a token."""
    return at(build(bench, token=TOKEN, with_pages=False))


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_asks_for_the_token(closed, route):
    assert closed.get(route).status_code == 401
    assert closed.get(route, headers=bearer("wrong")).status_code == 401
    assert closed.get(route, headers=bearer("")).status_code == 401
    assert closed.get(route, headers={"cookie": f"convscope_8000={TOKEN.encode().hex()}"}).status_code == 401
    assert closed.get(route, params={"token": "wrong"}).status_code == 401
    assert closed.get(route, headers=bearer(TOKEN)).status_code in (200, 404)


def test_a_refusal_is_a_sentence_for_programs_and_a_form_for_people(closed):
    refused = closed.get("/api/v1/models")
    assert "token" in refused.json()["error"]
    assert refused.headers["www-authenticate"] == "Bearer"
    form = closed.get('/look?lens=lrp&target="><script>', headers={"accept": "text/html"})
    assert form.status_code == 401
    assert 'name="token"' in form.text
    assert 'value="lrp"' in form.text, "whoever shows the token goes on to the same view"
    assert "<script>" not in form.text


def test_the_token_in_a_link_becomes_a_cookie_and_leaves_the_link(closed):
    shown = closed.get("/api/v1/models", params={"token": TOKEN, "target": "a - b"})
    assert shown.status_code == 303
    assert shown.headers["location"] == "/api/v1/models?target=a+-+b"
    cookie = shown.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    assert closed.get(shown.headers["location"]).status_code == 200, "the cookie is enough from now on"


def test_the_way_on_stays_on_this_server(closed):
    for path in ("//evil.example/x", "/\\evil.example", "///evil.example"):
        shown = closed.get(f"{HERE}{path}", params={"token": TOKEN})
        assert shown.headers["location"].startswith("/")
        assert shown.headers["location"][1:2] not in ("/", "\\")


def test_tokens_are_compared_in_constant_time(monkeypatch):
    seen = []

    def compare(one, other):
        seen.append((one, other))
        return False

    client = at(guarded(TOKEN))
    monkeypatch.setattr(security.secrets, "compare_digest", compare)
    right = secrets.token_hex()
    for headers, query in ((bearer(TOKEN), ""), ({"cookie": f"convscope_8000={right}"}, ""), ({}, f"?token={right}")):
        assert client.get(f"/{query}", headers=headers).status_code == 401, "nothing else lets anybody in"
        assert any(TOKEN.encode() in pair or right.encode() in pair for pair in seen), "it was asked"
        seen.clear()


def test_a_websocket_asks_too():
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
def test_another_name_is_refused(host):
    assert at(guarded()).get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "LOCALHOST", "[::1]:8000", "[::1]"])
def test_its_own_names_are_fine(host):
    assert at(guarded()).get("/", headers={"host": host}).status_code == 200


def test_open_to_other_machines_it_goes_by_numbers_but_not_by_strangers_names():
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


def test_following_a_link_from_elsewhere_is_fine_but_sending_a_form_is_not():
    follows = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    client = at(guarded())
    assert client.get("/look", headers=follows).status_code == 200
    assert client.post("/api/v1/run", headers=follows).status_code == 403
    assert client.post("/api/v1/run", headers={"origin": HERE, "sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize(("path", "most"), [("/api/v1/run", security.MAX_BODY), ("/api/v1/images", 33 * 2**20)])
def test_what_is_too_large_is_refused_whatever_it_says_of_its_length(path, most):
    client = at(guarded())

    def pieces():
        for _ in range(most // 2**18 + 2):
            yield b"\0" * 2**18

    for content in (b"\0" * (most + 1), pieces()):
        refused = client.post(path, content=content)
        assert refused.status_code == 413
        assert "shrink it" in refused.json()["error"]
    assert client.post(path, content=b"\0" * 1000).json() == {"bytes": 1000}


def test_no_more_is_read_than_is_allowed():
    """Of an endless body no more than the limit is taken in."""
    read = []

    async def swallow(scope, receive, send):
        while (await receive()).get("type") != "http.disconnect":
            pass

    async def endless():
        read.append(2**16)
        return {"type": "http.request", "body": b"\0" * 2**16, "more_body": True}

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [(b"host", b"localhost")]}
    asyncio.run(security.Access(swallow, token=None, host="127.0.0.1", port=1)(scope, endless, send))
    assert sum(read) <= security.MAX_BODY + 2**16
    assert sent[0]["status"] == 413


def test_nothing_is_fetched_from_elsewhere_and_no_page_frames_these(client):
    said = client.get("/api/v1/models").headers
    assert "default-src 'self'" in said["content-security-policy"]
    assert "frame-ancestors 'none'" in said["content-security-policy"]
    assert said["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", ""])
def test_other_machines_cannot_come_in_without_a_token(bench, host):
    for token in (None, ""):
        with pytest.raises(ParameterError, match="--token"):
            build(bench, host=host, token=token, with_pages=False)
    build(bench, host=host, token=TOKEN, with_pages=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_this_machine_needs_none(bench, host):
    build(bench, host=host, with_pages=False)
