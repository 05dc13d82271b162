"""Limits on the wire: codes, ``Retry-After``, and what is left."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from chatledger.adapters.http import errors
from chatledger.adapters.http.settings import HttpSettings
from chatledger.application.errors import (
    GenerationFailedError,
    QuotaUsedUpError,
    RateLimitedError,
    TooManyRequestsError,
)
from chatledger.application.ports.rate_limiter import Allowance, RateLimit
from tests.support.databases import ON_SQLITE
from tests.support.server import LiveServer, answer_of, chat_body, events_of, until

SLOW = "/script tokens=400 interval_ms=20"


async def limited(server: LiveServer, mode: str = "chat", **limits: Any) -> httpx.AsyncClient:
    return server.client(await server.new_key(mode, configuration={"limits": limits}, tokens=3))


async def hold(client: httpx.AsyncClient, user: str = "ada") -> str:
    """A message that is under way for a while; its task."""
    accepted = await client.post("/v1/chat-messages", json=chat_body(SLOW, user, response_mode="async"))
    assert accepted.status_code == 202, accepted.text
    return accepted.json()["task_id"]


async def release(client: httpx.AsyncClient, task_id: str, user: str = "ada") -> None:
    await client.post(f"/v1/chat-messages/{task_id}/stop", json={"user": user})

    async def has_ended() -> bool:
        return (await client.get(f"/v1/tasks/{task_id}")).json()["status"] == "stopped"

    await until(has_ended)


async def test_beyond_its_ceiling_an_app_takes_no_message(server: LiveServer) -> None:
    client = await limited(server, concurrency=2)
    held = [await hold(client), await hold(client)]
    for mode in ("blocking", "streaming", "async"):
        refused = await client.post("/v1/chat-messages", json=chat_body(response_mode=mode))
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json() == {
            "code": "too_many_requests",
            "message": (
                "Too many requests. Please try again later. The current maximum concurrent requests allowed is 2."
            ),
            "status": 429,
        }
    await release(client, held[0])
    assert (await client.post("/v1/chat-messages", json=chat_body())).status_code == 200
    await release(client, held[1])


async def test_a_used_up_quota_is_told_before_there_is_a_message(server: LiveServer) -> None:
    client = await limited(server, tokens_per_day=1)
    assert (await client.post("/v1/chat-messages", json=chat_body())).status_code == 200
    before = await server.head()
    for mode in ("blocking", "streaming", "async"):
        refused = await client.post("/v1/chat-messages", json=chat_body(user="somebody new", response_mode=mode))
        assert (refused.status_code, refused.json()["code"]) == (429, "provider_quota_exceeded")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
    assert await server.head() == before


@ON_SQLITE
async def test_a_request_sent_twice_joins_the_stream_from_its_start(server: LiveServer) -> None:
    client = await limited(server, dedupe_window=60)
    body = chat_body("/script tokens=40 interval_ms=10", response_mode="streaming")
    first, second = await asyncio.gather(*(client.post("/v1/chat-messages", json=body) for _ in range(2)))
    assert first.text == second.text
    (message,) = (await history_of(client, events_of(first.text)[0]["conversation_id"])).json()["data"]
    assert answer_of(events_of(second.text)) == message["answer"]


async def history_of(client: httpx.AsyncClient, conversation_id: str) -> httpx.Response:
    return await client.get("/v1/messages", params={"conversation_id": conversation_id, "user": "ada"})


# How often


@ON_SQLITE
async def test_what_is_left_of_each_limit_is_told(server: LiveServer) -> None:
    client = await limited(server, requests_per_minute=4, user_requests_per_minute=2)
    first = await client.get("/v1/conversations", params={"user": "ada"})
    assert first.status_code == 200
    assert first.headers["ratelimit-policy"] == '"key";q=4;w=60, "user";q=2;w=60'
    assert re.fullmatch(r'"key";r=3;t=15, "user";r=1;t=30', first.headers["ratelimit"])
    second = await client.post("/v1/chat-messages", json=chat_body(response_mode="streaming"))
    assert second.status_code == 200
    assert second.headers["ratelimit"].startswith('"key";r=2;t=30, "user";r=0;')
    third = await client.get("/v1/conversations", params={"user": "ada"})
    assert (third.status_code, third.json()) == (
        429,
        {"code": "rate_limit_error", "message": "Rate Limit Error", "status": 429},
    )
    assert 0 < int(third.headers["retry-after"]) <= 30
    assert third.headers["ratelimit"].startswith('"key";r=2;')
    # Others have theirs, and a request that names nobody counts against the key alone.
    assert (await client.get("/v1/conversations", params={"user": "bob"})).status_code == 200
    assert (await client.get("/v1/parameters")).headers["ratelimit-policy"] == '"key";q=4;w=60'
    assert (await client.get("/v1/info")).status_code == 429


@ON_SQLITE
async def test_without_limits_nothing_is_told(server: LiveServer) -> None:
    client = await limited(server)
    assert "ratelimit" not in (await client.get("/v1/conversations", params={"user": "ada"})).headers


@pytest.fixture
async def strict(serve) -> AsyncIterator[LiveServer]:
    async with serve(http=HttpSettings(requests_per_minute=2, user_requests_per_minute=1)) as live:
        yield live


@ON_SQLITE
async def test_the_servers_defaults_are_for_apps_that_say_nothing(strict: LiveServer) -> None:
    silent, outspoken = await limited(strict), await limited(strict, requests_per_minute=9, user_requests_per_minute=8)
    policies = [
        (await client.get("/v1/conversations?user=ada")).headers["ratelimit-policy"] for client in (silent, outspoken)
    ]
    assert policies == ['"key";q=2;w=60, "user";q=1;w=60', '"key";q=9;w=60, "user";q=8;w=60']
    assert (await silent.get("/v1/conversations?user=ada")).status_code == 429


@ON_SQLITE
async def test_an_app_counts_on_the_routes_of_the_ledger_and_an_operator_does_not(strict: LiveServer) -> None:
    client, operator = await limited(strict), strict.client(await strict.new_token("audit"))
    nowhere = f"/v1/messages/{uuid4()}"
    assert [(await client.get(nowhere)).status_code for _ in range(3)] == [404, 404, 429]
    assert [(await operator.get(nowhere)).status_code for _ in range(3)] == [404, 404, 404]


@ON_SQLITE
async def test_visitors_are_limited_by_their_passport_and_apart_from_the_key(server: LiveServer) -> None:
    made = await server.new_app(configuration={"limits": {"requests_per_minute": 5, "user_requests_per_minute": 2}})
    ada, bob = await server.new_visitor(made.site_code), await server.new_visitor(made.site_code)
    key = server.client(made.api_key)
    assert [(await ada.get("/api/conversations")).status_code for _ in range(3)] == [200, 200, 429]
    told = await bob.get("/api/parameters")
    assert told.headers["ratelimit-policy"] == '"key";q=5;w=60, "user";q=2;w=60'
    assert told.headers["ratelimit"].startswith('"key";r=0;')
    assert (await bob.get("/api/parameters")).status_code == 429
    # Nobody gets past it as somebody new: passports count too.
    passport = await server.client().get("/api/passport", headers={"X-App-Code": made.site_code})
    assert (passport.status_code, passport.json()["code"]) == (429, "rate_limit_error")
    assert (await key.get("/v1/parameters")).headers["ratelimit"].startswith('"key";r=4;')


# Every 429 says when to ask again


def refusals() -> list[Exception]:
    ids = {"message_id": uuid4(), "task_id": uuid4(), "conversation_id": None}
    spent = Allowance(limit=RateLimit("key", "a", 1), remaining=0, reset_after=59.2, retry_after=12.1)
    return [
        TooManyRequestsError(3),
        RateLimitedError((spent,)),
        QuotaUsedUpError(7),
        GenerationFailedError("provider_quota_exceeded", "", **ids),
        errors.HttpError(429),
    ]


@pytest.mark.parametrize("error", refusals(), ids=lambda error: type(error).__name__)
def test_every_429_says_when_to_ask_again(error: Exception) -> None:
    told = errors.to_http_error(error)
    assert told.body.status == 429
    assert told.body.code
    assert int(told.headers["Retry-After"]) >= 1


def test_what_is_spent_is_told_rounded_up() -> None:
    _, rate_limited, quota, *_ = refusals()
    assert errors.to_http_error(rate_limited).headers["Retry-After"] == "13"
    assert errors.to_http_error(quota).headers["Retry-After"] == "7"
