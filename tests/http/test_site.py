"""The pages, the API's description, and health."""

import re
import uuid
from typing import Any

import msgspec
import pytest

from chatledger.adapters.http.app import create_http_app
from chatledger.adapters.http.settings import HttpSettings
from chatledger.adapters.http.shutdown import Shutdown
from tests.support.server import LiveServer, chat_body


@pytest.mark.parametrize("path", ["/", "/docs", "/assets/docs.js", "/assets/site.css"])
async def test_no_page_names_a_foreign_host(server, path):
    response = await server.client().get(path)

    assert response.status_code == 200
    hosts = {match for match in re.findall(r"(?:https?:)?//([\w.:-]+\w)", response.text) if "." in match}
    assert hosts <= {server.base_url.removeprefix("http://")}
    assert "default-src 'none'" in response.headers["content-security-policy"]


async def test_the_pages_load_only_what_is_here(server):
    client = server.client()
    for path in ("/", "/docs"):
        page = (await client.get(path)).text
        for link in re.findall(r'(?:src|href)="(/[^"]*)"', page):
            assert (await client.get(link)).status_code == 200, link


async def test_the_home_page_says_what_runs(server):
    page = (await server.client().get("/")).text

    assert "chatledger" in page
    assert HttpSettings().version in page
    assert 'href="/docs"' in page


async def test_the_welcome(server):
    for path in ("/v1", "/v1/"):
        response = await server.client().get(path)
        version = HttpSettings().version
        assert response.json() == {"welcome": "Dify OpenAPI", "api_version": "v1", "server_version": version}


async def test_an_apps_own_card(server):
    card = {"description": "Answers.", "tags": ["a", "b"], "author_name": "Ada"}
    client = server.client(await server.new_key(configuration=card))

    assert (await client.get("/v1/info?user=ada")).json() == card | {"name": "an app for chat", "mode": "chat"}


@pytest.mark.parametrize("path", ["/", "/docs", "/health/live", "/health/ready"])
async def test_a_head_request_gets_the_headers_alone(each_server, path):
    whole, head = await each_server.client().get(path), await each_server.client().head(path)

    assert (head.status_code, head.content) == (200, b"")
    own = {"x-request-id", "date"}
    assert {name: value for name, value in head.headers.items() if name not in own} == {
        name: value for name, value in whole.headers.items() if name not in own
    }


# Health


async def test_health(server):
    assert (await server.client().get("/health/live")).json() == {"status": "live"}
    assert (await server.client().get("/health/ready")).json() == {"status": "ready"}


async def test_a_server_that_drains_is_alive_but_not_ready(serve):
    async with serve() as server:
        chat = await server.new_client()
        server.shutdown.draining.set()

        assert (await chat.get("/health/live")).status_code == 200
        assert (await chat.head("/health/ready")).status_code == 503
        for response in (await chat.get("/health/ready"), await chat.post("/v1/chat-messages", json=chat_body())):
            assert (response.status_code, response.json()["code"]) == (503, "service_unavailable")
            assert response.headers["retry-after"] == "1"


# The description


@pytest.fixture
async def document(server: LiveServer) -> dict[str, Any]:
    response = await server.client().get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    return response.json()


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(child) for child in value.values()))
    if isinstance(value, list):
        return set().union(*(references(child) for child in value))
    return set()


async def test_the_description_holds_together(document):
    assert document["openapi"] == "3.1.0"
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) == known
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    for operation in operations:
        assert operation["summary"]
        if operation["security"]:
            assert {"401", "500", "503"} <= set(operation["responses"])
        for status, header in (("202", "Location"), ("401", "WWW-Authenticate"), ("429", "Retry-After")):
            assert list(operation["responses"].get(status, {"headers": {header: ...}})["headers"]) == [header]
        assert list(operation["responses"].get("503", {"headers": {"Retry-After": ...}})["headers"]) == ["Retry-After"]


@pytest.mark.parametrize(
    ("path", "name", "low", "high", "default"),
    [
        ("/v1/messages", "limit", 1, 100, 20),
        ("/v1/conversations", "limit", 1, 100, 20),
        ("/v1/messages/{message_id}/events", "limit", 1, 100, 20),
        ("/v1/app/feedbacks", "limit", 1, 101, 20),
        ("/v1/app/feedbacks", "page", 1, 1_000_000, 1),
    ],
)
async def test_the_description_tells_the_bounds_of_a_number(document, path, name, low, high, default):
    (schema,) = [one["schema"] for one in document["paths"][path]["get"]["parameters"] if one["name"] == name]
    assert schema == {"type": "integer", "minimum": low, "maximum": high, "default": default}


async def test_the_description_tells_the_bounds_of_a_user(document):
    schemas = document["components"]["schemas"]
    for name in ("ChatMessageRequest", "CompletionMessageRequest", "StopRequest"):
        assert schemas[name]["properties"]["user"] == {"type": "string", "minLength": 1, "maxLength": 255}


async def test_every_route_of_the_api_is_described(server, document):
    is_ready = server.running.writer.require_writable
    app = create_http_app(server.running.application, HttpSettings(), is_ready, Shutdown())
    routes = {
        (route.path_format, str(method).lower())
        for route in app.routes
        if route.path.startswith(("/v1", "/api", "/health"))
        for method in route.methods - {"OPTIONS", "HEAD"}
    }
    assert routes
    assert routes <= described(document)


def described(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(path, method) for path, methods in document["paths"].items() for method in methods}


async def test_the_message_api_is_described_at_both_entrances(document):
    visitors_alone = {
        ("/passport", "get"),
        ("/saved-messages", "get"),
        ("/saved-messages", "post"),
        ("/saved-messages/{message_id}", "delete"),
        ("/conversations/{conversation_id}/pin", "patch"),
        ("/conversations/{conversation_id}/unpin", "patch"),
    }
    visitors, keys = (
        {(path.removeprefix(prefix), method) for path, method in described(document) if path.startswith(prefix)}
        for prefix in ("/api", "/v1")
    )
    # What is about the app or the ledger as a whole is for its own server alone, or for operators.
    their_own = ("/admin/", "/app/", "/apps/", "/end-users/", "/search", "/proof", "/events", "/checkpoint")
    of_the_app = {place for place in keys if place[0].startswith(their_own)} | {("", "get")}
    assert visitors - visitors_alone == keys - of_the_app
    assert visitors_alone <= visitors
    assert len(visitors) > 20


async def test_no_body_of_a_visitor_names_a_user(document):
    for path in (path for path in document["paths"] if path.startswith("/api/")):
        for operation in document["paths"][path].values():
            assert "user" not in {parameter["name"] for parameter in operation.get("parameters", ())}
            assert operation["security"] in ([], [{"passport": []}, {"app_passport": []}])
    schemas = document["components"]["schemas"]
    for name in ("ChatMessageRequest", "CompletionMessageRequest", "FeedbackRequest"):
        fields, visitors = schemas[name]["properties"], schemas[f"Visitor{name}"]["properties"]
        assert set(visitors) == set(fields) - {"user", "auto_generate_name"}


async def test_the_description_tells_which_fields_a_body_needs(document):
    schemas = document["components"]["schemas"]
    assert set(schemas["ChatMessageRequest"]["required"]) == {"inputs", "query", "user"}
    assert set(schemas["CompletionMessageRequest"]["required"]) == {"inputs", "user"}
    assert "required" not in schemas["FeedbackRequest"] or schemas["FeedbackRequest"]["required"] == []
    send = document["paths"]["/v1/chat-messages"]["post"]
    assert set(send["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert {"202", "400", "401", "403", "404", "413", "415", "429", "500", "503"} <= set(send["responses"])


async def test_answers_are_what_the_description_says(server, document):
    """Each route called once; what it gives fits the type that its description is made of."""
    chat = await server.new_client(tokens=2)
    sent = await chat.post("/v1/chat-messages", json=chat_body())
    answer = sent.json()
    await chat.post(f"/v1/messages/{answer['id']}/feedbacks", json={"rating": "like"})
    paths = {
        "/v1": "/v1",
        "/v1/info": "/v1/info",
        "/v1/parameters": "/v1/parameters",
        "/v1/conversations": "/v1/conversations?user=ada",
        "/v1/app/feedbacks": "/v1/app/feedbacks",
        "/v1/messages": f"/v1/messages?conversation_id={answer['conversation_id']}",
        "/v1/messages/{message_id}": f"/v1/messages/{answer['id']}",
        "/v1/messages/{message_id}/events": f"/v1/messages/{answer['id']}/events",
        "/v1/tasks/{task_id}": f"/v1/tasks/{answer['task_id']}",
        "/health/live": "/health/live",
        "/health/ready": "/health/ready",
    }
    given = {path: (await chat.get(real)).content for path, real in paths.items()}
    given["/v1/chat-messages"] = sent.content
    for path, method in (*((path, "get") for path in paths), ("/v1/chat-messages", "post")):
        schema = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
        name = schema["$ref"].rpartition("/")[2]
        assert set(msgspec.json.decode(given[path])) <= set(document["components"]["schemas"][name]["properties"])
        assert set(document["components"]["schemas"][name].get("required", [])) <= set(msgspec.json.decode(given[path]))


async def test_every_answer_has_an_id_of_its_own(server):
    ids = {(await server.client().get(path)).headers["x-request-id"] for path in ("/", "/v1", "/nope", "/health/live")}
    assert len({uuid.UUID(given) for given in ids}) == 4
