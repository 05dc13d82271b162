"""The app's ratings, page by page and as a file; and who its people are (contract, sections 5.5 and 9)."""

import csv
import io
import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.databases import ON_SQLITE
from tests.support.server import LiveServer, chat_body

REMARKS = ["=1+1", 'a "quoted", remark\r\nin two lines', None, "naïve 漢 𝄞", "-3"]


@pytest.fixture
async def rated(server: LiveServer) -> httpx.AsyncClient:
    """An app with a rating for each remark, oldest first."""
    client = await server.new_client(tokens=1)
    for number, remark in enumerate(REMARKS):
        user = f"user-{number}"
        message = (await client.post("/v1/chat-messages", json=chat_body(user=user))).json()
        rating = {"rating": "like" if number % 2 else "dislike", "content": remark, "user": user}
        assert (await client.post(f"/v1/messages/{message['id']}/feedbacks", json=rating)).status_code == 200
    return client


async def listed(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    response = await client.get("/v1/app/feedbacks", params=query)
    assert response.status_code == 200, response.text
    assert list(response.json()) == ["data"]
    return response.json()["data"]


async def test_pages_come_newest_first(rated: httpx.AsyncClient) -> None:
    entries = await listed(rated)
    assert [entry["content"] for entry in entries] == REMARKS[::-1]
    assert [entry["created_at"] for entry in entries] == sorted((e["created_at"] for e in entries), reverse=True)
    pages = [await listed(rated, limit=2, page=number) for number in (1, 2, 3)]
    assert [entry for page in pages for entry in page] == entries


async def test_a_period_cuts_to_the_microsecond(rated: httpx.AsyncClient) -> None:
    entries = (await listed(rated))[::-1]
    second, fourth = entries[1]["created_at"], entries[3]["created_at"]
    assert await listed(rated, start=second, end=fourth) == [entries[2], entries[1]]
    assert await listed(rated, start=fourth) == [entries[4], entries[3]]
    assert await listed(rated, end=second) == [entries[0]]
    elsewhere = datetime.fromisoformat(fourth).astimezone(tz=datetime.fromisoformat("2026-01-01T00:00:00+05:30").tzinfo)
    assert await listed(rated, start=elsewhere.isoformat()) == [entries[4], entries[3]]


async def test_a_day_counts_whole_as_either_end(rated: httpx.AsyncClient) -> None:
    entries = await listed(rated)
    days = [datetime.fromisoformat(entry["created_at"]).date() for entry in (entries[-1], entries[0])]
    assert await listed(rated, start=days[0].isoformat(), end=days[1].isoformat()) == entries
    assert await listed(rated, end=(days[0] - timedelta(days=1)).isoformat()) == []
    assert await listed(rated, start=(days[1] + timedelta(days=1)).isoformat()) == []


@ON_SQLITE
@pytest.mark.parametrize(
    ("field", "query"),
    [
        ("start", {"start": "yesterday"}),
        ("start", {"start": "20260101"}),
        ("start", {"start": "2026-02-30"}),
        ("start", {"start": "2026-01-01T12:00:00"}),
        ("start", {"start": "2026-01-01T12:00:60Z"}),
        ("end", {"end": "9999-12-31"}),
        ("end", {"start": "2026-01-02", "end": "2026-01-01"}),
        ("end", {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}),
        ("format", {"format": "xml"}),
        ("page", {"format": "csv", "page": "1"}),
        ("limit", {"format": "jsonl", "limit": "10"}),
        ("as_of", {"as_of": "2026-01-01"}),
    ],
    ids=str,
)
async def test_what_is_no_period_or_format_is_refused_by_name(server: LiveServer, field: str, query: dict) -> None:
    client = await server.new_client()
    response = await client.get("/v1/app/feedbacks", params=query)
    assert (response.status_code, response.json()["code"], response.json()["params"]) == (400, "invalid_param", field)


async def test_all_of_it_as_lines_of_json(rated: httpx.AsyncClient) -> None:
    response = await rated.get("/v1/app/feedbacks?format=jsonl")
    assert response.headers["content-type"].startswith("application/jsonl")
    assert response.headers["content-disposition"] == 'attachment; filename="feedbacks.jsonl"'
    assert [json.loads(line) for line in response.text.splitlines()] == await listed(rated)


async def test_all_of_it_as_values_between_commas_that_compute_nothing(rated: httpx.AsyncClient) -> None:
    entries = await listed(rated)
    response = await rated.get("/v1/app/feedbacks", params={"format": "csv", "start": entries[-1]["created_at"]})
    assert response.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert [row["content"] for row in rows] == ["'-3", REMARKS[3], "", REMARKS[1], "'=1+1"]
    for row, entry in zip(rows, entries, strict=True):
        del row["content"], entry["content"]
        assert row == {"erased": ""} | {name: "" if value is None else str(value) for name, value in entry.items()}


@ON_SQLITE
async def test_without_ratings_a_file_is_empty_but_for_its_heading(server: LiveServer) -> None:
    client = await server.new_client()
    assert (await client.get("/v1/app/feedbacks?format=jsonl")).text == ""
    assert (await client.get("/v1/app/feedbacks?format=csv")).text.count("\r\n") == 1


# People


async def test_the_apps_key_finds_out_who_somebody_is(server: LiveServer) -> None:
    client = await server.new_client(tokens=1)
    message = (await client.post("/v1/chat-messages", json=chat_body(user="ada@example.org"))).json()
    await client.post(f"/v1/messages/{message['id']}/feedbacks", json={"rating": "like", "user": "ada@example.org"})
    (entry,) = await listed(client)
    person = (await client.get(f"/v1/end-users/{entry['from_end_user_id']}")).json()
    datetime.fromisoformat(person.pop("created_at"))
    datetime.fromisoformat(person.pop("updated_at"))
    assert UUID(person.pop("tenant_id"))
    assert person == {
        "id": entry["from_end_user_id"],
        "app_id": entry["app_id"],
        "type": "service-api",
        "external_user_id": "ada@example.org",
        "name": None,
        "is_anonymous": False,
        "session_id": "ada@example.org",
    }
    other = await server.new_client()
    for response in (
        await other.get(f"/v1/end-users/{entry['from_end_user_id']}"),
        await client.get(f"/v1/end-users/{uuid4()}"),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "end_user_not_found")
        assert response.json()["message"] == "End user not found."
    malformed = await client.get("/v1/end-users/ada")
    assert (malformed.status_code, malformed.json()["code"]) == (404, "not_found")
