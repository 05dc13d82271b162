"""Each refusal of an input, in the words of the contract (section 3.4)."""

from typing import Any

import httpx
import pytest

from tests.support.databases import ON_SQLITE
from tests.support.server import LiveServer, chat_body

FORM = [
    {"variable": "name", "required": True, "max_length": 4},
    {"variable": "story", "type": "paragraph", "max_length": 4},
    {"variable": "tone", "type": "select", "options": ["kind", "dry"]},
    {"variable": "count", "type": "number"},
    {"variable": "brief", "type": "checkbox"},
    {"variable": "photo", "type": "file"},
    {"variable": "papers", "type": "file-list", "max_length": 1},
    {"variable": "more", "type": "json_object"},
]
A_FILE = {"type": "image", "transfer_method": "remote_url", "url": "https://files.example/a.png"}


@pytest.fixture
async def client(server: LiveServer) -> httpx.AsyncClient:
    return server.client(await server.new_key(configuration={"user_input_form": FORM}, tokens=1))


@ON_SQLITE
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"name": None}, "name is required in input form"),
        ({"name": 5}, "(type 'text-input') name in input form must be a string"),
        ({"story": ["a"]}, "(type 'paragraph') story in input form must be a string"),
        ({"tone": 1}, "(type 'select') tone in input form must be a string"),
        ({"tone": "rude"}, "tone in input form must be one of the following: ['kind', 'dry']"),
        ({"name": "Marie"}, "name in input form must be less than 4 characters"),
        ({"story": "a" * 5}, "story in input form must be less than 4 characters"),
        ({"count": "many"}, "count in input form must be a valid number"),
        ({"brief": "maybe"}, "brief in input form must be true or false"),
        ({"photo": "a.png"}, "photo in input form must be a file"),
        ({"papers": A_FILE}, "papers in input form must be a list of files"),
        ({"papers": [A_FILE, A_FILE]}, "papers in input form must be less than 1 files"),
        ({"more": "{}"}, "more in input form must be a dict"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_does_not_fit_is_refused(client: httpx.AsyncClient, server: LiveServer, inputs, message) -> None:
    before = await server.head()
    response = await client.post("/v1/chat-messages", json=chat_body(inputs={"name": "Ann"} | inputs))
    assert (response.status_code, response.json()) == (
        400,
        {"code": "invalid_param", "message": message, "status": 400, "params": "inputs"},
    )
    assert await server.head() == before


@ON_SQLITE
async def test_what_fits_is_in_history_and_what_is_not_declared_is_not(client: httpx.AsyncClient) -> None:
    given: dict[str, Any] = {"name": "A\0nn", "count": "7", "brief": "yes", "more": {"a": ["\0b"]}, "colour": "red"}
    answer = (await client.post("/v1/chat-messages", json=chat_body(inputs=given | {"photo": A_FILE}))).json()
    query = {"conversation_id": answer["conversation_id"]}
    (message,) = (await client.get("/v1/messages", params=query)).json()["data"]
    photo = message["inputs"].pop("photo")
    assert message["inputs"] == {
        "name": "Ann",
        "story": None,
        "tone": None,
        "count": 7,
        "brief": True,
        "papers": None,
        "more": {"a": ["b"]},
    }
    assert photo["url"] == A_FILE["url"]
