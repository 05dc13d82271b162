"""What an answer has cost, wherever it is told (contract, section 4.5)."""

from typing import Any

import httpx

from chatledger.application.context import SYSTEM, Context
from chatledger.domain.configuration import AppConfiguration
from tests.support.databases import ON_SQLITE
from tests.support.server import LiveServer, chat_body, events_of

PRICES = {
    "prompt_unit_price": "2.50",
    "prompt_price_unit": "0.000001",
    "completion_unit_price": "0.002",
    "completion_price_unit": "0.001",
    "currency": "EUR",
}
# The scripted generator counts one token for each word that it is asked, and for each that it says.
TOKENS = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
COST = {"prompt_price": "0.0000025", "completion_price": "0.000006", "total_price": "0.0000085"}


async def priced(server: LiveServer) -> httpx.AsyncClient:
    return server.client(await server.new_key(configuration={"prices": PRICES}, tokens=3))


def check(usage: dict[str, Any]) -> None:
    times = {name: usage.pop(name) for name in ("latency", "time_to_first_token", "time_to_generate")}
    assert usage == TOKENS | COST | PRICES
    assert all(isinstance(seconds, float) and seconds >= 0 for seconds in times.values())


async def test_a_whole_answer_a_stream_and_history_tell_the_same_cost(server: LiveServer) -> None:
    client = await priced(server)
    whole = (await client.post("/v1/chat-messages", json=chat_body())).json()
    check(whole["metadata"]["usage"])
    streamed = await client.post("/v1/chat-messages", json=chat_body(response_mode="streaming"))
    check(events_of(streamed.text)[-1]["metadata"]["usage"])
    for conversation_id in (whole["conversation_id"], events_of(streamed.text)[-1]["conversation_id"]):
        (message,) = (await client.get("/v1/messages", params={"conversation_id": conversation_id})).json()["data"]
        assert (message["message_tokens"], message["answer_tokens"], message["total_tokens"]) == (1, 3, 4)
        assert (message["total_price"], message["currency"]) == (COST["total_price"], "EUR")
        assert message["provider_response_latency"] >= 0


@ON_SQLITE
async def test_without_prices_an_answer_costs_nothing_and_its_tokens_count(server: LiveServer) -> None:
    client = await server.new_client(tokens=3)
    usage = (await client.post("/v1/chat-messages", json=chat_body())).json()["metadata"]["usage"]
    assert {name: usage[name] for name in TOKENS} == TOKENS
    assert {name: usage[name] for name in COST} == dict.fromkeys(COST, "0")
    assert usage["currency"] == "USD"


@ON_SQLITE
async def test_other_prices_change_nothing_of_what_an_answer_has_cost(server: LiveServer) -> None:
    client = await priced(server)
    whole = (await client.post("/v1/chat-messages", json=chat_body())).json()
    application = server.running.application
    app = await application.credentials.app(client.headers["authorization"].removeprefix("Bearer "))
    without = AppConfiguration(generator="scripted", settings={"tokens": 3})
    await application.apps.configure(app.app_id, without, Context(actor=SYSTEM, correlation_id=application.new_id()))
    query = {"conversation_id": whole["conversation_id"]}
    (message,) = (await client.get("/v1/messages", params=query)).json()["data"]
    assert (message["total_price"], message["currency"]) == (COST["total_price"], "EUR")
    again = (await client.post("/v1/chat-messages", json=chat_body())).json()
    assert again["metadata"]["usage"]["total_price"] == "0"
