"""Providers that stall, lie about lengths and send rubbish: what becomes of the answer, whoever asks them.

Everything is said over real connections, byte by byte: see tests/support/fake_openai.py.
"""

import asyncio
import gzip
import json
import logging
import resource
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatledger.adapters.generator.agent import AgentGenerator
from chatledger.adapters.generator.openai_compatible import OpenAICompatibleGenerator
from chatledger.application.ports.generator import (
    Finish,
    GenerationRequest,
    Generator,
    GeneratorError,
    Text,
    TokenCount,
)
from tests.support.fake_openai import (
    DONE,
    Event,
    FakeOpenAI,
    Pause,
    Raw,
    Refusal,
    Response,
    Stall,
    answer,
    chunk,
    finish,
    token,
    usage,
)
from tests.support.server import chat_body, events_of, live_server

pytestmark = pytest.mark.filterwarnings("ignore::pydantic_ai.exceptions.UsageExtractionFailedWarning")

SILENCE = 0.3
SOON = 10.0
MEGABYTE = 1024 * 1024
MOST_MEMORY = 40
"""Megabytes that an answer may cost, and the fake with it, whatever it is sent."""


def head(*fields: str, status: str = "200 OK", kind: str = "text/event-stream") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


def frames(*events: Event) -> bytes:
    return b"".join(b"data: " + event.data + b"\n\n" for event in events)


OPEN = head("connection: close")
HALF = frames(token("half"))
WHOLE = frames(token("half"), token(" and half"), finish("stop"), usage(7, 2), DONE)
TOO_LATE = frames(token("more"))


def stream(*events: Event) -> Raw:
    return Raw([OPEN + frames(*events)])


def delta(body: bytes) -> Event:
    return Event(b'{"choices": [{"index": 0, "delta": ' + body + b', "finish_reason": null}]}')


BROKEN: dict[str, tuple[Response, str, str]] = {
    # name: what is sent, the text that is passed on, the kind of the error
    "silence before the head": (Raw([Stall()]), "", "timeout"),
    "silence before the first token": (Raw([OPEN, Stall()]), "", "timeout"),
    "silence within a frame": (Raw([OPEN + HALF[:-9], Stall()]), "", "timeout"),
    "silence in the middle": (Raw([OPEN + HALF, Stall()]), "half", "timeout"),
    "silence within a refusal": (Raw([head("content-length: 99", status="500 x"), Stall()]), "", "timeout"),
    "a length beyond the body": (Raw([head("content-length: 9999") + HALF]), "half", "transient"),
    "a length within a frame": (Raw([head(f"content-length: {len(HALF) - 9}") + WHOLE]), "", "transient"),
    "a length before the end": (Raw([head(f"content-length: {len(HALF)}") + WHOLE]), "half", "transient"),
    "closed before the head": (Raw([b""]), "", "transient"),
    "closed within the head": (Raw([OPEN[:-9]]), "", "transient"),
    "closed within a frame": (Raw([OPEN + HALF + TOO_LATE[:20]]), "half", "transient"),
    "closed within a chunk": (Raw([head("transfer-encoding: chunked") + b"100\r\n" + HALF]), "half", "transient"),
    "a chunk without a size": (Raw([head("transfer-encoding: chunked") + b"zz\r\n" + HALF]), "", "transient"),
    "reset before the head": (Raw([b""], resets=True), "", "transient"),
    "reset in the middle": (Raw([OPEN + HALF, Pause(0.05)], resets=True), "half", "transient"),
    "another protocol": (Raw([b"SSH-2.0-OpenSSH_9.6\r\n"]), "", "transient"),
    "a page": (Raw([head("connection: close", kind="text/html") + b"<p>Log in</p>\n" * 99]), "", "transient"),
    "an error of status 200": (Refusal(200, {"error": {"message": "Overloaded"}}), "", "transient"),
    "nothing": (Raw([head(status="204 No Content")]), "", "transient"),
    "broken JSON": (stream(token("half"), Event(b'{"choices": [{')), "half", "transient"),
    "a list": (stream(token("half"), Event(b"[1, 2]")), "half", "transient"),
    "no UTF-8": (stream(token("half"), delta(b'{"content": "\xff\xfe"}')), "half", "transient"),
    "no choices": (stream(token("half"), Event(b'{"id": "x"}'), DONE), "half", "transient"),
    "a line without an end": (Raw([OPEN + b"data: ", b"x" * MEGABYTE], times=50), "", "transient"),
    "an event without an end": (Raw([OPEN, b"data: x\n" * 100_000], times=60), "", "transient"),
    "a token of ten megabytes": (stream(token("x" * 10 * MEGABYTE), finish("stop"), DONE), "", "transient"),
    "a head without an end": (Raw([OPEN[:-2], b"x-name: value\r\n" * 99_999], times=9), "", "transient"),
    "a refusal without an end": (Raw([head(status="500 x"), b"x" * MEGABYTE], times=60), "", "transient"),
    "compressed, a hundred megabytes": (
        Raw([head("content-encoding: gzip", "connection: close") + gzip.compress(b"x" * 100 * MEGABYTE, 1)]),
        "",
        "transient",
    ),
}  # fmt: skip

WHOLE_ALL_THE_SAME: dict[str, tuple[Response, str]] = {
    "a length beyond the end": (Raw([head("content-length: 9999") + WHOLE]), "half and half"),
    "byte by byte": (Raw([OPEN, *[WHOLE[n : n + 1] for n in range(len(WHOLE))]]), "half and half"),
    "no count": (stream(token("a"), finish("stop"), DONE), "a"),
    "a count of nothing": (stream(token("a"), finish("stop"), chunk(usage={"prompt_tokens": None}), DONE), "a"),
    "a count below zero": (stream(token("a"), finish("stop"), usage(-5, -6), DONE), "a"),
    "an enormous count": (stream(token("a"), finish("stop"), usage(10**30, 10**40), DONE), "a"),
    "an unknown end": (stream(token("a"), finish("because"), DONE), "a"),
    "half a character": (stream(token("a"), delta(b'{"content": "\\ud800"}'), finish("stop"), DONE), "a\ufffd"),
    "choices of nothing": (stream(token("a"), Event(b'{"id": "x", "choices": null}'), finish("stop"), DONE), "a"),
}  # fmt: skip


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture(params=[OpenAICompatibleGenerator, AgentGenerator])
async def generator(provider: FakeOpenAI, request: pytest.FixtureRequest) -> AsyncIterator[Generator]:
    made = make(request.param, provider)
    yield made
    await made.close()


def make(kind: type, provider: FakeOpenAI) -> Generator:
    if kind is AgentGenerator:
        return AgentGenerator(base_urls={"openai": provider.base_url}, read_timeout=SILENCE, environment={})
    return OpenAICompatibleGenerator(base_url=provider.base_url, read_timeout=SILENCE, environment={})


async def outcome(generator: Generator) -> tuple[str, GeneratorError | None, list[object]]:
    """The text, the error if one ended it, and the other parts."""

    async def no_history(most: int | None = None) -> tuple[()]:
        return ()

    asked = GenerationRequest(
        message_id=UUID(int=1),
        attempt=1,
        mode="chat",
        query="canary-query",
        inputs={},
        settings={"model": "m"},
        history=no_history,
    )
    text, parts = "", []
    try:
        async with asyncio.timeout(SOON):
            async for part in generator.generate(asked):
                if isinstance(part, Text):
                    text += part.text
                else:
                    parts.append(part)
    except GeneratorError as error:
        return text, error, parts
    return text, None, parts


def memory() -> int:
    """The most that the process has held so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_is_an_error_that_keeps_what_came_before(provider, generator, name, caplog):
    caplog.set_level(logging.DEBUG, "chatledger")
    response, kept, kind = BROKEN[name]
    provider.then(answer("first"), response)
    await outcome(generator)  # what is loaded with the first question counts for nothing
    before = memory()
    text, error, parts = await outcome(generator)
    assert (text, error and error.kind) == (kept, kind), error
    assert not any(isinstance(part, Finish) for part in parts)
    assert memory() - before < MOST_MEMORY
    assert len(provider.requests) == 2, "whether it is asked again is for the worker to say"
    assert "canary" not in caplog.text
    assert "Traceback" not in caplog.text
    if provider.requests[1].closed.is_set() or kind == "timeout":
        await asyncio.wait_for(provider.requests[1].closed.wait(), SOON)


@pytest.mark.parametrize("name", WHOLE_ALL_THE_SAME)
async def test_what_can_be_made_sense_of_is_a_whole_answer(provider, generator, name):
    response, wanted = WHOLE_ALL_THE_SAME[name]
    provider.then(response)
    text, error, parts = await outcome(generator)
    assert (text, error) == (wanted, None)
    assert isinstance(parts[-1], Finish)
    for count in (part for part in parts if isinstance(part, TokenCount)):
        assert min(count.prompt_tokens, count.completion_tokens) >= 0


async def test_a_question_is_not_carried_on_to_another_address(provider, generator):
    provider.then(Refusal(307, "", {"location": "/v1/elsewhere"}), answer("from elsewhere"))
    text, error, _ = await outcome(generator)
    assert text == ""
    assert error is not None
    assert len(provider.requests) == 1


RUBBISH = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["choices", "delta", "content", "index", "usage", "finish_reason", "error", "id"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@pytest.mark.parametrize("kind", [OpenAICompatibleGenerator, AgentGenerator])
def test_whatever_is_sent_the_answer_is_whole_or_an_error(kind):
    @given(st.lists(RUBBISH, min_size=1, max_size=3))
    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def holds(rubbish: list[bytes]) -> None:
        text, error, parts = asyncio.run(rounds(rubbish))
        assert text.startswith("half")
        assert (error is None) == any(isinstance(part, Finish) for part in parts)
        assert error is None or error.kind in {"transient", "timeout"}

    async def rounds(rubbish: list[bytes]) -> tuple[str, GeneratorError | None, list[object]]:
        async with FakeOpenAI(stream(token("half"), *map(Event, rubbish))) as provider:
            generator = make(kind, provider)
            try:
                return await outcome(generator)
            finally:
                await generator.close()

    holds()


# The message that is answered so


@pytest.mark.parametrize("kind", ["openai_compatible", "agent"])
async def test_a_message_ends_once_whatever_its_provider_does(tmp_path, provider, kind, caplog):
    quick = {"first_retry_delay": 0.01, "longest_retry_delay": 0.02, "provider_silence": SILENCE}
    mode = "agent-chat" if kind == "agent" else "chat"
    configuration = {"generator": kind, "settings": {"model": "m", "base_url": provider.base_url}}
    async with live_server(tmp_path / "data", **quick) as server:
        chat = server.client(await server.new_key(mode, configuration=configuration))
        for name in ("silence before the head", "closed within the head", "a page", "a line without an end"):
            provider.then(BROKEN[name][0], BROKEN["an error of status 200"][0], answer("at ", "last"))
            events, stored = await ask(chat)
            assert (events[-1]["event"], stored["answer"], stored["status"]) == ("message_end", "at last", "normal"), (
                name
            )
        for name in ("silence in the middle", "a length beyond the body", "broken JSON", "reset in the middle"):
            provider.then(BROKEN[name][0])
            events, stored = await ask(chat)
            ended = [event for event in events if event["event"] in {"message_end", "error"}]
            assert [(end["event"], end["code"], end["status"]) for end in ended] == [
                ("error", "completion_request_error", 400)
            ], name
            assert (events[-1]["event"], stored["answer"], stored["status"]) == ("error", "half", "error"), name
        provider.then(WHOLE_ALL_THE_SAME["an enormous count"][0])
        events, stored = await ask(chat)
        assert (events[-1]["event"], stored["answer"]) == ("message_end", "a")
        assert 0 <= events[-1]["metadata"]["usage"]["total_tokens"] < 10**9
    assert "canary" not in caplog.text
    assert "Traceback" not in caplog.text


async def ask(chat: httpx.AsyncClient) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What the stream says, and the message as it is afterwards; the ledger has one end of it."""
    sent = await chat.post(
        "/v1/chat-messages", json=chat_body("canary", response_mode="streaming", auto_generate_name=False)
    )
    events = events_of(sent.text)
    message_id = events[-1]["message_id"]
    facts = (await chat.get(f"/v1/messages/{message_id}/events", params={"limit": 100})).json()["data"]
    terminal = {"MessageCompleted", "MessageStopped", "MessageErrored"}
    assert sum(fact["type"] in terminal for fact in facts) == 1
    return events, (await chat.get(f"/v1/messages/{message_id}")).json()
