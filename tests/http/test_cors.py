"""What a browser is told about pages of other origins."""

import httpx
import pytest

from chatledger.adapters.http.settings import HttpSettings
from tests.support.databases import ON_SQLITE
from tests.support.server import LiveServer, answer_of, chat_body, events_of

pytestmark = ON_SQLITE

HOME, OTHER = "https://chat.example.org", "https://elsewhere.example.org"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-app-code,x-app-passport",
}


@pytest.fixture
async def open_to_home(serve):
    async with serve(http=HttpSettings(cors_origins=(HOME, "http://localhost:3000"))) as live:
        yield live


@pytest.fixture
async def open_to_all(serve):
    async with serve(http=HttpSettings(cors_origins=("*",))) as live:
        yield live


async def preflight(live: LiveServer, origin: str, path: str = "/v1/chat-messages") -> httpx.Response:
    return await live.client().options(path, headers=PREFLIGHT | {"Origin": origin})


def allowed(response: httpx.Response) -> tuple[str | None, str | None]:
    return tuple(response.headers.get(f"access-control-allow-{what}") for what in ("origin", "credentials"))


@pytest.mark.parametrize("path", ["/v1/chat-messages", "/v1/messages", "/v1/nowhere"])
async def test_a_named_origin_may_ask_with_credentials_of_both_kinds(open_to_home, path):
    response = await preflight(open_to_home, HOME, path)

    assert response.status_code == 204
    assert allowed(response) == (HOME, "true")
    assert "POST" in response.headers["access-control-allow-methods"]
    assert {"PATCH", "PUT", "DELETE"} <= set(response.headers["access-control-allow-methods"].split(", "))
    named = {name.strip().lower() for name in response.headers["access-control-allow-headers"].split(",")}
    assert set(PREFLIGHT["Access-Control-Request-Headers"].split(",")) <= named
    assert int(response.headers["access-control-max-age"]) > 0
    assert response.headers["vary"] == "Origin"


async def test_another_origin_is_not_let_in(open_to_home):
    for origin in (OTHER, HOME + ".evil.example", "http://chat.example.org", "null"):
        checked = await preflight(open_to_home, origin)
        assert (checked.status_code, *allowed(checked)) == (204, None, None)
        assert "access-control-allow-methods" not in checked.headers
        response = await open_to_home.client().get("/v1/info", headers={"Origin": origin})
        assert allowed(response)[0] is None


async def test_a_stream_and_a_refusal_can_be_read_by_a_page(open_to_home):
    client = await open_to_home.new_client(tokens=3)
    client.headers["Origin"] = HOME
    body = chat_body(response_mode="streaming")

    streamed = await client.post("/v1/chat-messages", json=body)
    refused = await client.post("/v1/chat-messages", json={})
    unknown = await client.get("/v1/nowhere")
    locked = await client.get("/v1/info", headers={"Authorization": "Bearer app-none"})

    assert answer_of(events_of(streamed.text)) == "t0 t1 t2 "
    assert [response.status_code for response in (streamed, refused, unknown, locked)] == [200, 400, 404, 401]
    for response in (streamed, refused, unknown, locked):
        assert allowed(response) == (HOME, "true")
        exposed = response.headers["access-control-expose-headers"].split(", ")
        assert {"x-request-id", "retry-after"} <= set(exposed)
        assert response.headers["x-request-id"]


async def test_any_page_may_ask_but_without_cookies(open_to_all):
    checked = await preflight(open_to_all, OTHER)
    client = await open_to_all.new_client(tokens=1)
    response = await client.post("/v1/chat-messages", json=chat_body(), headers={"Origin": OTHER})

    assert (checked.status_code, *allowed(checked)) == (204, "*", None)
    assert (response.status_code, *allowed(response)) == (200, "*", None)


async def test_without_the_setting_nothing_is_said(server):
    checked = await preflight(server, HOME)
    response = await server.client().get("/v1", headers={"Origin": HOME})

    assert response.status_code == 200
    for headers in (checked.headers, response.headers):
        assert not [name for name in headers if name.startswith("access-control")]


async def test_a_request_of_no_page_is_answered_as_ever(open_to_home):
    response = await open_to_home.client().get("/v1")

    assert response.status_code == 200
    assert allowed(response)[0] is None


@pytest.mark.parametrize("origins", [(HOME,), ("*",)])
async def test_no_cache_gives_one_page_what_another_was_told(serve, origins):
    async with serve(http=HttpSettings(cors_origins=origins)) as live:
        for headers in ({}, {"Origin": HOME}, {"Origin": OTHER}):
            for path in ("/v1", "/v1/nowhere"):
                assert (await live.client().get(path, headers=headers)).headers["vary"] == "Origin"
