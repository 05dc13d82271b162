"""The adapter to OpenAI's protocol, against a server that speaks it: see tests/support/fake_openai.py."""

import asyncio
import email.utils
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

import msgspec
import pytest

from chatledger.adapters.generator.openai_compatible import OpenAICompatibleGenerator
from chatledger.adapters.openai_clients import DEFAULT_BASE_URL
from chatledger.application.ports.generator import (
    Exchange,
    Finish,
    GenerationRequest,
    GeneratorError,
    Part,
    SettingsError,
    Text,
    TokenCount,
)
from chatledger.application.ports.text_model import TextRequest
from chatledger.domain.values import AppMode
from tests.support.fake_openai import (
    DONE,
    Cut,
    Event,
    FakeOpenAI,
    Pause,
    Refusal,
    Stall,
    Stream,
    answer,
    chunk,
    finish,
    token,
    usage,
)

SERVER_KEY = "server-key"


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
async def generator(provider: FakeOpenAI) -> AsyncIterator[OpenAICompatibleGenerator]:
    made = OpenAICompatibleGenerator(
        base_url=provider.base_url,
        api_key=SERVER_KEY,
        read_timeout=2.0,
        environment={"TEAM_KEY": "team-key", "BLANK": " ", "ODD": "schlüssel"},
    )
    yield made
    await made.close()


def request(
    query: str = "Why is the sky blue?",
    *,
    mode: AppMode = "chat",
    inputs: dict[str, Any] | None = None,
    history: Sequence[Exchange] = (),
    **settings: object,
) -> GenerationRequest:
    async def read_history(most: int | None = None) -> Sequence[Exchange]:
        return history[-most:] if most else history

    return GenerationRequest(
        message_id=UUID(int=1),
        attempt=1,
        mode=mode,
        query=query,
        inputs=inputs or {},
        settings={"model": "m", **settings},
        history=read_history,
    )


async def parts(generator: OpenAICompatibleGenerator, asked: GenerationRequest) -> list[Part]:
    return [part async for part in generator.generate(asked)]


async def failure(generator: OpenAICompatibleGenerator, asked: GenerationRequest) -> tuple[GeneratorError, list[Part]]:
    received = []
    try:
        async for part in generator.generate(asked):
            received.append(part)  # noqa: PERF401 - what came before the error counts
    except GeneratorError as error:
        return error, received
    pytest.fail(f"no error after {received}")


# What is asked and what comes back


async def test_an_answer_comes_as_text_then_its_tokens_then_its_end(provider, generator):
    provider.then(answer("The ", "sky ", "scatters."))
    assert await parts(generator, request()) == [
        Text("The "),
        Text("sky "),
        Text("scatters."),
        TokenCount(7, 3),
        Finish("stop"),
    ]


async def test_the_text_is_passed_on_as_it_comes(provider, generator):
    provider.then(Stream([token("one"), Stall()]))
    async with aclosing(generator.generate(request())) as answered:
        assert await asyncio.wait_for(anext(answered), 5) == Text("one")


async def test_the_provider_is_asked_with_the_settings_and_nothing_more(provider, generator):
    provider.then(answer("x"), answer("x"))
    await parts(generator, request())
    every = {"temperature": "0.5", "top_p": 0.9, "max_tokens": 9, "seed": 4, "stop": ["END", "\n\n"]}
    await parts(generator, request(**every, presence_penalty=-1, frequency_penalty=2))
    plain, full = (received.body for received in provider.requests)
    expected = {
        "model": "m",
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert plain == expected
    assert full == {
        **expected,
        **every,
        "temperature": 0.5,
        "presence_penalty": -1,
        "frequency_penalty": 2,
    }
    assert provider.requests[0].path == "/v1/chat/completions"


async def test_earlier_exchanges_go_in_as_turns_and_the_latest_ones_win(provider, generator):
    provider.then(answer("x"), answer("x"))
    history = [Exchange(f"q{n}", f"a{n}") for n in range(30)]
    await parts(generator, request("now", history=history, history_limit=2, system_prompt="Be brief."))
    await parts(generator, request("now", history=history, history_limit=0))
    assert provider.requests[0].body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "q28"},
        {"role": "assistant", "content": "a28"},
        {"role": "user", "content": "q29"},
        {"role": "assistant", "content": "a29"},
        {"role": "user", "content": "now"},
    ]
    assert provider.requests[1].body["messages"] == [{"role": "user", "content": "now"}]


async def test_a_completion_is_one_user_message_of_its_inputs(provider, generator):
    provider.then(answer("x"), answer("x"))
    inputs = {"topic": "rain", "none": None, "lines": 3, "rhyme": True}
    history = [Exchange("q", "a")]
    await parts(generator, request("", mode="completion", inputs=inputs, history=history))
    await parts(generator, request("Write!", mode="completion", inputs=inputs))
    assert provider.requests[0].body["messages"] == [{"role": "user", "content": "rain\n3\ntrue"}]
    assert provider.requests[1].body["messages"] == [{"role": "user", "content": "Write!"}]


async def test_inputs_fill_the_system_prompt_once(provider, generator):
    provider.then(answer("x"))
    inputs = {"tone": "dry {{name}}", "name": "Ada", "n": 2}
    await parts(generator, request(inputs=inputs, system_prompt="Be {{tone}}, {{ name }}, {{n}}, {{other}}."))
    assert provider.requests[0].body["messages"][0]["content"] == "Be dry {{name}}, Ada, 2, {{other}}."


async def test_the_conversations_variables_fill_what_inputs_leave(provider, generator):
    async def variables() -> dict[str, Any]:
        return {"mood": "calm", "name": "not this", "count": 3}

    provider.then(answer("x"))
    asked = request(inputs={"name": "Ada"}, system_prompt="Be {{mood}}, {{name}}, {{count}}, {{other}}.")
    await parts(generator, msgspec.structs.replace(asked, variables=variables))
    assert provider.requests[0].body["messages"][0]["content"] == "Be calm, Ada, 3, {{other}}."


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "other"),
        ("eos", "other"),
    ],
)
async def test_the_reason_of_the_end_is_told(provider, generator, said, told):
    provider.then(answer("x", reason=said))
    assert (await parts(generator, request()))[-1] == Finish(told)


async def test_a_refusal_of_the_model_is_text(provider, generator):
    refusal = chunk(choices=[{"index": 0, "delta": {"content": None, "refusal": "I will not."}}])
    provider.then(Stream([refusal, finish("stop"), DONE]))
    assert await parts(generator, request()) == [Text("I will not."), Finish("stop")]


async def test_a_complete_answer_needs_neither_a_count_nor_the_closing_mark(provider, generator):
    provider.then(Stream([token("all"), finish("stop")]))
    assert await parts(generator, request()) == [Text("all"), Finish("stop")]


async def test_counts_that_come_with_every_chunk_are_told_once(provider, generator):
    provider.then(Stream([token("a"), usage(7, 1), token("b"), usage(7, 2), finish("stop"), DONE]))
    assert await parts(generator, request()) == [Text("a"), Text("b"), TokenCount(7, 2), Finish("stop")]


async def test_a_character_that_is_cut_in_half_arrives_whole(provider, generator):
    provider.then(Stream([token("a\ud83d"), token("\ude00"), token("\ude00b\ud83d"), finish("stop"), DONE]))
    *text, end = await parts(generator, request())
    assert "".join(part.text for part in text) == "a\N{GRINNING FACE}\ufffdb\ufffd"
    assert end == Finish("stop")


async def test_connections_are_used_again_after_whole_answers(provider, generator):
    provider.then(answer("x"), answer("x"))
    await parts(generator, request())
    await parts(generator, request())
    assert not provider.requests[0].closed.is_set()


# Keys


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, f"Bearer {SERVER_KEY}"),
        ({"api_key_env": "TEAM_KEY"}, "Bearer team-key"),
    ],
)
async def test_the_key_is_the_apps_variable_or_the_servers(provider, generator, settings, sent):
    provider.then(answer("x"))
    await parts(generator, request(**settings))
    assert provider.requests[0].headers["authorization"] == sent


async def test_the_servers_key_goes_to_the_servers_provider_only(generator):
    async with FakeOpenAI(answer("x")) as other:
        await parts(generator, request(base_url=other.base_url))
        assert "authorization" not in other.requests[0].headers


async def test_two_apps_with_keys_of_their_own_never_share_one(provider, generator):
    provider.then(answer("x"), answer("x"), answer("x"))
    for settings in ({}, {"api_key_env": "TEAM_KEY"}, {}):
        await parts(generator, request(**settings))
    keys = [received.headers["authorization"] for received in provider.requests]
    assert keys == [f"Bearer {SERVER_KEY}", "Bearer team-key", f"Bearer {SERVER_KEY}"]


@pytest.mark.parametrize("variable", ["ABSENT", "BLANK", "ODD"])
async def test_a_variable_without_a_usable_key_is_told_before_anyone_is_asked(provider, generator, variable):
    error, _ = await failure(generator, request(api_key_env=variable))
    assert error.kind == "credentials"
    assert "schl" not in str(error)
    assert provider.requests == []


async def test_openai_itself_is_not_asked_without_a_key():
    generator = OpenAICompatibleGenerator(environment={})
    error, _ = await failure(generator, request())
    assert error.kind == "credentials"
    assert "api_key_env" in str(error)
    error, _ = await failure(generator, request(base_url=DEFAULT_BASE_URL + "/"))
    assert error.kind == "credentials"
    await generator.close()


# Refusals


@pytest.mark.parametrize(
    ("refusal", "kind", "text"),
    [
        (
            (429, {"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}),
            "transient",
            "Slow down.",
        ),
        ((429, {"error": {"message": "Pay.", "code": "insufficient_quota"}}), "quota", "Pay."),
        ((429, {"error": {"message": "Pay.", "type": "insufficient_quota"}}), "quota", "Pay."),
        ((402, {"error": {"message": "Insufficient Balance"}}), "quota", "Insufficient Balance"),
        ((500, {"error": {"message": "Oops."}}), "transient", "Oops."),
        ((503, b"<html>busy</html>"), "transient", "<html>busy</html>"),
        ((408, None), "transient", "Error code: 408"),
        ((409, {"error": {"message": "Locked."}}), "transient", "Locked."),
        ((401, {"error": {"message": "Bad key: se****"}}), "credentials", "Incorrect API key provided"),
        ((403, {"error": {"message": "Not from here."}}), "credentials", "Incorrect API key provided"),
        ((400, {"error": {"message": "Too long a prompt."}}), "invalid", "Too long a prompt."),
        ((400, {"error": {"message": "Filtered.", "code": "content_filter"}}), "content", "Filtered."),
        ((404, {"error": "model 'm' not found"}), "invalid", "model 'm' not found"),
        ((422, {"detail": "no such field"}), "invalid", "no such field"),
        ((422, {"detail": [{"loc": ["model"]}]}), "invalid", '{"detail":[{"loc":["model"]}]}'),
        ((418, {"error": {"message": "Tea?"}}), "invalid", "Tea?"),
    ],
)
async def test_a_refusal_says_what_may_be_done_about_it(provider, generator, refusal, kind, text):
    provider.then(Refusal(*refusal))
    error, received = await failure(generator, request())
    assert (error.kind, str(error), error.retry_after, received) == (kind, text, None, [])
    assert len(provider.requests) == 1, "the worker retries, not the SDK"


def http_date(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "bounds"),
    [
        ({"Retry-After": "17"}, (17, 17)),
        ({"Retry-After": "1.5"}, (1.5, 1.5)),
        ({"retry-after-ms": "250", "Retry-After": "1"}, (0.25, 0.25)),
        ({"retry-after-ms": "soon", "Retry-After": "3"}, (3, 3)),
        ({"Retry-After": http_date(60)}, (0, 61)),
        ({"Retry-After": http_date(-60)}, (0, 0)),
        ({"Retry-After": "-5"}, (0, 0)),
    ],
)
async def test_the_wait_that_a_provider_asks_for_is_kept(provider, generator, status, headers, bounds):
    provider.then(Refusal(status, {"error": {"message": "Later."}}, headers))
    error, _ = await failure(generator, request())
    assert error.kind == "transient"
    assert error.retry_after is not None
    low, high = bounds
    assert low <= error.retry_after <= high


@pytest.mark.parametrize("value", ["soon", "inf", "nan", ""])
async def test_a_wait_that_is_none_is_left_out(provider, generator, value):
    provider.then(Refusal(429, {}, {"Retry-After": value}))
    error, _ = await failure(generator, request())
    assert (error.kind, error.retry_after) == ("transient", None)


async def test_a_providers_text_is_bounded(provider, generator):
    provider.then(Refusal(400, {"error": {"message": "x" * 100_000}}))
    error, _ = await failure(generator, request())
    assert len(str(error)) == 2_001


# Streams that break


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([], id="empty"),
        pytest.param([DONE], id="done without an end"),
        pytest.param([Cut()], id="cut"),
        pytest.param([Event(b"{not json")], id="undecodable"),
        pytest.param([Event(b"\xff\xfe")], id="not UTF-8"),
        pytest.param([Event(b"[" * 100_000)], id="deeply nested"),
        pytest.param([Event(b"5")], id="a number"),
        pytest.param([Event(b'"text"')], id="a text"),
        pytest.param([Event(b'{"choices": 3}')], id="choices that are none"),
        pytest.param([Event(b'{"choices": [3]}')], id="a choice that is none"),
        pytest.param([Event(b'{"choices": [{"delta": {"content": 5}}]}')], id="text that is a number"),
        pytest.param([Event(b'{"error": {"message": "Overloaded"}}')], id="error"),
        pytest.param([Event(b'{"error": "Overloaded"}')], id="bare error"),
    ],
)
@pytest.mark.parametrize("before", [[], [token("half an ")]], ids=["first", "later"])
async def test_a_broken_stream_is_a_passing_failure_and_never_a_short_answer(provider, generator, before, steps):
    provider.then(Stream([*before, *steps]))
    error, received = await failure(generator, request())
    assert error.kind == "transient"
    assert received == [Text("half an ")] * len(before)


async def test_an_error_within_a_stream_keeps_the_providers_text(provider, generator):
    provider.then(Stream([token("a"), Event(b'{"error": {"message": "Overloaded", "code": 502}}')]))
    error, _ = await failure(generator, request())
    assert (error.kind, str(error)) == ("transient", "Overloaded")


async def test_a_quota_that_ends_within_a_stream_is_a_quota(provider, generator):
    provider.then(Stream([Event(b'{"error": {"message": "Pay.", "code": "insufficient_quota"}}')]))
    error, _ = await failure(generator, request())
    assert error.kind == "quota"


async def test_a_page_instead_of_a_stream_is_a_passing_failure(provider, generator):
    provider.then(Refusal(200, b"<html>log in</html>", {"content-type": "text/html"}))
    error, _ = await failure(generator, request())
    assert error.kind == "transient"


async def test_nobody_listening_is_a_passing_failure(generator):
    async with FakeOpenAI() as gone:
        address = gone.base_url
    error, _ = await failure(generator, request(base_url=address))
    assert error.kind == "transient"


@pytest.mark.parametrize(
    "silence",
    [
        pytest.param(Stream([], silent_for=30), id="before the head"),
        pytest.param(Stream([token("a"), Stall()]), id="in the middle"),
    ],
)
async def test_silence_ends_at_the_timeout(provider, silence):
    generator = OpenAICompatibleGenerator(base_url=provider.base_url, read_timeout=0.2, environment={})
    provider.then(silence)
    error, _ = await failure(generator, request())
    assert (error.kind, str(error)) == ("timeout", "The provider did not answer in time.")
    await asyncio.wait_for(provider.requests[0].closed.wait(), 5)
    await generator.close()


async def test_a_slow_stream_that_goes_on_is_no_silence(provider):
    generator = OpenAICompatibleGenerator(base_url=provider.base_url, read_timeout=0.5, environment={})
    provider.then(Stream([step for _ in range(6) for step in (token("a"), Pause(0.15))] + [finish("stop"), DONE]))
    assert len(await parts(generator, request())) == 7
    await generator.close()


# Stopping


async def test_closing_the_stream_closes_the_providers_connection(provider, generator):
    provider.then(Stream([token("a"), Stall()]))
    answered = generator.generate(request())
    assert await anext(answered) == Text("a")
    assert not provider.requests[0].closed.is_set()
    async with asyncio.timeout(1):
        await answered.aclose()
        await provider.requests[0].closed.wait()


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(Stream([], silent_for=30), id="before the head"),
        pytest.param(Stream([Stall()]), id="before the first token"),
        pytest.param(Stream([token("a"), token("b"), Stall()]), id="in the middle"),
    ],
)
async def test_cancelling_closes_the_providers_connection(provider, generator, response):
    provider.then(response)
    running = asyncio.create_task(parts(generator, request()))
    asked = await provider.asked()
    if not response.silent_for:
        await asyncio.wait_for(asked.started.wait(), 5)
    running.cancel()
    async with asyncio.timeout(1):
        await asyncio.wait([running])
        await asked.closed.wait()
    assert running.cancelled()


async def test_one_message_that_stops_leaves_the_others_alone(provider, generator):
    provider.then(Stream([token("a"), Stall()]), answer("b", "c", pace=0.05))
    stopped = generator.generate(request())
    await anext(stopped)
    going_on = asyncio.create_task(parts(generator, request()))
    await provider.asked(2)
    await stopped.aclose()
    assert (await going_on)[-1] == Finish("stop")


# Settings


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"modle": "m"}, "modle"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a", 1]}, "stop"),
        ({"seed": 0.5}, "seed"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"history_limit": -1}, "history_limit"),
        ({"system_prompt": 4}, "system_prompt"),
        ({"base_url": "ftp://host/v1"}, "base_url"),
        ({"base_url": "api.example"}, "base_url"),
        ({"base_url": "http://:99999"}, "base_url"),
        ({"base_url": "https://user:secret@host/v1"}, "base_url"),
        ({"base_url": "https://secret@host/v1"}, "base_url"),
        ({"base_url": "https://host/v1?key=secret"}, "base_url"),
        ({"api_key_env": "sk-proj-abc"}, "api_key_env"),
        ({"api_key_env": "CHATLEDGER_MASTER_KEY"}, "api_key_env"),
        ({"api_key": "sk-1"}, "api_key"),
    ],
)
async def test_a_wrong_setting_is_refused_by_its_name(generator, settings, name):
    wrong = {"model": "m", **settings}
    with pytest.raises(SettingsError, match=rf"\b{name}\b") as caught:
        generator.check_settings(wrong)
    assert "secret" not in str(caught.value)
    error, _ = await failure(generator, request(**wrong))
    assert error.kind == "invalid"


def test_the_model_is_required(generator):
    with pytest.raises(SettingsError, match="model"):
        generator.check_settings({})


def test_settings_stay_as_the_app_has_them(generator):
    settings = {"model": "m", "stop": "END", "temperature": None}
    generator.check_settings(settings)
    assert generator.settings_for("/script tokens=3", settings) is settings


def test_a_wrong_address_stops_the_start():
    with pytest.raises(ValueError, match="base_url"):
        OpenAICompatibleGenerator(base_url="localhost:8000")


# Manners


async def test_nothing_of_a_message_is_logged(provider, generator, caplog):
    caplog.set_level(logging.DEBUG)
    provider.then(answer("canary-answer"), Refusal(400, {"error": {"message": "canary-refusal"}}))
    await parts(generator, request("canary-query"))
    await failure(generator, request("canary-query"))
    assert "canary" not in caplog.text
    assert SERVER_KEY not in caplog.text


def test_importing_the_adapter_does_not_import_the_sdk():
    module = "chatledger.adapters.generator.openai_compatible"
    code = f"import sys, {module}; print('openai' in sys.modules, 'pydantic' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["False", "False"]


def test_without_the_sdk_the_app_is_refused_with_the_way_to_get_it():
    code = (
        "import importlib.util as u; found = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'openai' else found(name, *rest)\n"
        "from chatledger.adapters.generator.openai_compatible import OpenAICompatibleGenerator\n"
        "try: OpenAICompatibleGenerator().check_settings({'model': 'm'})\n"
        "except Exception as error: print(error)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "chatledger[openai]" in shown


# Small texts


async def test_a_small_text_is_asked_for_by_an_instruction_of_its_own(provider, generator):
    provider.then(answer("Blue ", "sky"))
    write = generator.text_model(
        {"model": "m", "system_prompt": "Answer in verse.", "stop": "]", "max_tokens": 9, "temperature": 0.3}
    )
    asked = TextRequest(purpose="title", instruction="Write a title.", text="Why is the sky blue?", max_tokens=20)
    assert await write(asked) == "Blue sky"
    body = provider.requests[0].body
    assert body["messages"] == [
        {"role": "system", "content": "Write a title."},
        {"role": "user", "content": "Why is the sky blue?"},
    ]
    assert (body["max_tokens"], body["temperature"], body.get("stop")) == (20, 0.3, None)


async def test_a_small_text_that_is_given_up_closes_the_connection(provider, generator):
    provider.then(Stream([token("Blue "), Stall()]))
    asked = TextRequest(purpose="title", instruction="Write a title.", text="Why?", max_tokens=20)
    writing = asyncio.create_task(generator.text_model({"model": "m"})(asked))
    received = await provider.asked()
    await received.started.wait()
    writing.cancel()
    async with asyncio.timeout(5):
        await received.closed.wait()
