"""The agent against servers that speak the providers' protocols, and against the library's own models for tests."""

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

import msgspec
import pytest
from pydantic_ai import RunContext
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel

from chatledger.adapters.generator.agent import AgentGenerator
from chatledger.adapters.generator.agent_tools import ToolError, ToolOutput
from chatledger.application.ports.generator import (
    Exchange,
    FileMade,
    Finish,
    GenerationRequest,
    GeneratorError,
    Part,
    Retrieved,
    SentFile,
    SettingsError,
    StepBegan,
    StepEnded,
    Text,
    TokenCount,
    ToolCall,
    ToolsReturned,
)
from chatledger.application.ports.text_model import TextRequest
from tests.support import fake_anthropic, fake_google
from tests.support.fake_openai import (
    DONE,
    Cut,
    FakeOpenAI,
    Refusal,
    Stall,
    Stream,
    answer,
    calling,
    chunk,
    finish,
    token,
)

SERVER_KEY = "server-key"
SUM = ("calculate", {"expression": "2 + 3 * 4"})


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
async def generator(provider: FakeOpenAI) -> AsyncIterator[AgentGenerator]:
    made = agent_of(provider)
    yield made
    await made.close()


def agent_of(provider: FakeOpenAI, **more: Any) -> AgentGenerator:
    elsewhere = provider.base_url.removesuffix("/v1")
    return AgentGenerator(
        base_urls={"openai": provider.base_url, "anthropic": elsewhere, "google": elsewhere},
        api_keys={"openai": SERVER_KEY, "anthropic": SERVER_KEY, "google": SERVER_KEY},
        environment={"TEAM_KEY": "team-key", "BLANK": " "},
        **{"read_timeout": 2.0} | more,
    )


def request(
    query: str = "What is two and three times four?",
    *,
    inputs: dict[str, Any] | None = None,
    history: Sequence[Exchange] = (),
    files: Sequence[SentFile] = (),
    **settings: object,
) -> GenerationRequest:
    async def read_history(most: int | None = None) -> Sequence[Exchange]:
        return history[-most:] if most else history

    return GenerationRequest(
        message_id=UUID(int=1),
        attempt=1,
        mode="agent-chat",
        query=query,
        inputs=inputs or {},
        settings={"model": "m", **settings},
        history=read_history,
        files=files,
    )


async def parts(generator: AgentGenerator, asked: GenerationRequest) -> list[Part]:
    return [part async for part in generator.generate(asked)]


async def failure(generator: AgentGenerator, asked: GenerationRequest) -> tuple[GeneratorError, list[Part]]:
    received = []
    try:
        async for part in generator.generate(asked):
            received.append(part)  # noqa: PERF401 - what came before the error counts
    except GeneratorError as error:
        return error, received
    pytest.fail(f"no error after {received}")


def calls_of(received: Sequence[Part]) -> list[list[str]]:
    return [[call.tool for call in part.calls] for part in received if isinstance(part, StepEnded)]


def results_of(received: Sequence[Part]) -> list[Any]:
    return [result for part in received if isinstance(part, ToolsReturned) for result in part.results]


# What is asked and what comes back

A_STEP_AND_AN_ANSWER = [
    StepBegan(),
    Text("Let me "),
    Text("see."),
    TokenCount(10, 5),
    StepEnded(
        "Let me see.",
        (ToolCall(tool="calculate", arguments={"expression": "2 + 3 * 4"}, labels={"en_US": "Calculate"}),),
    ),
    ToolsReturned((14,)),
    StepBegan(),
    Text("It is "),
    Text("14."),
]


async def test_a_step_with_a_tool_then_the_answer(provider, generator):
    provider.then(calling(SUM, saying=("Let me ", "see.")), answer("It is ", "14."))
    assert await parts(generator, request()) == [
        *A_STEP_AND_AN_ANSWER,
        TokenCount(17, 7),
        StepEnded("It is 14."),
        Finish("stop"),
    ]
    first, second = (received.body for received in provider.requests)
    assert first["messages"] == [{"role": "user", "content": "What is two and three times four?"}]
    assert second["messages"][-1] == {"role": "tool", "tool_call_id": "call-calculate-0", "content": "14"}
    assert {received.headers["authorization"] for received in provider.requests} == {f"Bearer {SERVER_KEY}"}


@pytest.mark.parametrize(
    ("name", "script", "path", "key_header"),
    [
        (
            "anthropic",
            (fake_anthropic.calling(SUM, saying=("Let me ", "see.")), fake_anthropic.answer("It is ", "14.")),
            "/v1/messages",
            "authorization",
        ),
        (
            "google",
            (
                Stream([fake_google.chunk({"text": "Let me "}), *fake_google.calling(*SUM, saying="see.").steps]),
                fake_google.answer("It is ", "14."),
            ),
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            "x-goog-api-key",
        ),
    ],
)
async def test_other_providers_by_their_own_protocols(provider, generator, name, script, path, key_header):
    provider.then(*script)
    assert await parts(generator, request(provider=name)) == [
        *A_STEP_AND_AN_ANSWER,
        TokenCount(20, 10),
        StepEnded("It is 14."),
        Finish("stop"),
    ]
    assert [received.path for received in provider.requests] == [path, path]
    assert provider.requests[0].headers[key_header].removeprefix("Bearer ") == SERVER_KEY


async def test_several_calls_of_a_step_return_in_their_order(provider, generator):
    provider.then(calling(SUM, ("nothing", {}), ("calculate", {"expression": "1 / 0"})), answer("x"))
    received = await parts(generator, request())
    assert calls_of(received) == [["calculate", "nothing", "calculate"], []]
    whole, unknown, impossible = results_of(received)
    assert whole == 14
    assert "Unknown tool name: 'nothing'" in unknown["error"]
    assert impossible == {"error": "That cannot be worked out: division by zero"}


async def test_a_file_comes_before_what_its_tool_returned(provider, generator):
    table = {"file_name": "../secret/sales.csv", "columns": ["year", "sum"], "rows": [[2025, "1,5"], [2026, None]]}
    provider.then(calling(("write_table", table)), answer("Here."))
    received = await parts(generator, request())
    assert received[3:5] == [
        FileMade("sales.csv", b'year,sum\r\n2025,"1,5"\r\n2026,\r\n'),
        ToolsReturned(("sales.csv with 2 rows is attached to the answer.",)),
    ]


async def test_what_a_search_finds_is_cited(provider, generator, tmp_path):
    (tmp_path / "tides.md").write_text("# Tides\n\nThe moon pulls at the sea.\n")
    searches = [calling(("search_documents", {"question": question})) for question in ("Why tides?", "xyzzy")]
    provider.then(*searches, answer("The moon."))
    received = await parts(generator, request(folder=str(tmp_path)))
    (found,) = [part.resources for part in received if isinstance(part, Retrieved)]
    assert [(each.position, each.document_name, each.dataset_name) for each in found] == [
        (1, "tides.md", tmp_path.name)
    ]
    passages, nothing = results_of(received)
    assert [passage["text"] for passage in passages] == ["The moon pulls at the sea."]
    assert nothing == "Nothing was found."


async def test_the_provider_is_told_the_instructions_the_history_and_the_settings(provider, generator):
    provider.then(answer("x"))
    history = [Exchange(f"q{n}", f"a{n}") for n in range(30)]

    async def variables() -> dict[str, Any]:
        return {"tone": "not this", "mood": "calm"}

    settings = {
        "instructions": "Be {{tone}} and {{mood}}.",
        "history_limit": 1,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 9,
    }
    asked = request("now", inputs={"tone": "dry"}, history=history, **settings)
    await parts(generator, msgspec.structs.replace(asked, variables=variables))
    body = provider.requests[0].body
    assert body["messages"] == [
        {"role": "system", "content": "Be dry and calm."},
        {"role": "user", "content": "q29"},
        {"role": "assistant", "content": "a29"},
        {"role": "user", "content": "now"},
    ]
    assert (body["model"], body["temperature"], body["top_p"]) == ("m", 0.5, 0.9)
    assert 9 in {body.get("max_tokens"), body.get("max_completion_tokens")}


def stored(name: str, mime_type: str, content: bytes) -> SentFile:
    async def read() -> AsyncGenerator[bytes, None]:
        yield content

    return SentFile(kind="custom", name=name, mime_type=mime_type, size=len(content), open=read)


ON_THE_WEB = SentFile(kind="image", name="a.png", url="https://pictures.invalid/a.png")


async def test_the_model_is_shown_pictures_and_read_texts(provider, generator):
    provider.then(answer("x"))
    files = [stored("b.png", "image/png", b"png"), stored("c.txt", "text/plain", b"tea"), ON_THE_WEB]
    await parts(generator, request("What is this?", files=files))
    (message,) = provider.requests[0].body["messages"]
    question, picture, text, other = message["content"]
    assert question == {"type": "text", "text": "What is this?"}
    assert picture["image_url"]["url"] == "data:image/png;base64,cG5n"
    assert text == {"type": "text", "text": "c.txt:\n\ntea"}
    assert other["image_url"]["url"] == ON_THE_WEB.url


@pytest.mark.parametrize(
    ("name", "file"),
    [("openai", stored("d.zip", "application/zip", b"zip")), ("google", ON_THE_WEB)],
)
async def test_a_file_that_no_model_can_be_given_is_named(provider, generator, name, file):
    error, _ = await failure(generator, request(provider=name, files=[file]))
    assert error.kind == "invalid"
    assert file.name in str(error)
    assert provider.requests == []


async def test_an_app_chooses_among_the_tools(provider, generator):
    provider.then(answer("x"), answer("x"), calling(SUM), answer("x"))
    await parts(generator, request())
    await parts(generator, request(tools=["current_time"]))
    received = await parts(generator, request(tools=[]))
    offered = [
        [tool["function"]["name"] for tool in received.body.get("tools", ())] for received in provider.requests[:3]
    ]
    assert offered == [["current_time", "calculate", "write_table", "search_documents"], ["current_time"], []]
    assert "Unknown tool name" in results_of(received)[0]["error"]


async def test_a_small_text_is_written_without_tools(provider, generator):
    provider.then(answer("Two and ", "twelve"))
    write = generator.text_model({"model": "m", "instructions": "Answer in verse.", "tools": ["calculate"]})
    asked = TextRequest(purpose="title", instruction="Write a title.", text="What is 2 + 3 * 4?", max_tokens=20)
    assert await write(asked) == "Two and twelve"
    body = provider.requests[0].body
    assert [(message["role"], message["content"]) for message in body["messages"]] == [
        ("system", "Write a title."),
        ("user", "What is 2 + 3 * 4?"),
    ]
    assert body.get("tools") is None


@pytest.mark.parametrize("max_steps", [1, 2, 5])
async def test_after_the_last_step_with_tools_comes_one_without(provider, generator, max_steps):
    provider.then(*[calling(SUM, saying=("more",)) for _ in range(8)])
    received = await parts(generator, request(max_steps=max_steps))
    assert calls_of(received) == [["calculate"]] * max_steps + [[]]
    assert received[-1] == Finish("other")
    assert [asked.body["tool_choice"] for asked in provider.requests] == ["auto"] * max_steps + ["none"]


@pytest.mark.parametrize(("said", "told"), [("stop", "stop"), ("length", "length")])
async def test_the_reason_of_the_end_is_told(provider, generator, said, told):
    provider.then(answer("x", reason=said))
    assert (await parts(generator, request()))[-1] == Finish(told)


async def test_the_text_is_passed_on_as_it_comes(provider, generator):
    provider.then(Stream([token("one"), Stall()]))
    async with asyncio.timeout(5), aclosing(generator.generate(request())) as answered:
        assert [await anext(answered) for _ in range(2)] == [StepBegan(), Text("one")]


async def test_what_a_server_does_not_count_is_not_told(provider, generator):
    provider.then(Stream([token("x"), finish("stop"), DONE]))
    assert await parts(generator, request()) == [StepBegan(), Text("x"), StepEnded("x"), Finish("stop")]


# Tools of a host


def saying(*calls: DeltaToolCall) -> FunctionModel:
    """A model that calls these tools once, then answers."""

    async def stream(messages, _info):
        if len(messages) == 1:
            yield dict(enumerate(calls))
        else:
            yield "done"

    return FunctionModel(stream_function=stream)


def call(name: str, arguments: str = "{}") -> DeltaToolCall:
    return DeltaToolCall(name=name, json_args=arguments, tool_call_id=name)


async def run(generator: AgentGenerator, **settings: object) -> list[Part]:
    try:
        return await parts(generator, request(model=None, **settings))
    finally:
        await generator.close()


def twice(number: int) -> int:
    """Double a number."""
    return 2 * number


async def greet(context: RunContext[GenerationRequest], name: str) -> str:
    return f"{context.deps.inputs['greeting']}, {name}"


def draw() -> ToolOutput:
    return ToolOutput({"drawn": 1}, files=(FileMade("dot.svg", b"<svg/>"),))


def refuse() -> str:
    raise ToolError("Not on a Sunday.")


def break_down() -> str:
    raise ZeroDivisionError("the host's own secret")


async def dawdle() -> str:
    await asyncio.sleep(30)
    return "never"


def dawdle_in_a_thread() -> str:
    time.sleep(1)
    return "late"


async def test_a_hosts_own_model_and_tools():
    model = saying(call("twice", '{"number": 21}'), call("greet", '{"name": "Ada"}'), call("draw"))
    generator = AgentGenerator(model=model, tools=[twice, greet, draw])
    asked = request(model=None, inputs={"greeting": "Good day"})
    received = await parts(generator, asked)
    await generator.close()
    assert results_of(received) == [42, "Good day, Ada", {"drawn": 1}]
    assert FileMade("dot.svg", b"<svg/>") in received
    assert received[-3:-1] == [received[-3], StepEnded("done")]


async def test_every_tool_can_be_called_by_a_model_that_knows_its_schema_alone():
    received = await run(AgentGenerator(model=TestModel(), tools=[twice]))
    assert calls_of(received)[0] == ["current_time", "calculate", "write_table", "search_documents", "twice"]
    assert results_of(received)[4] == 0


async def test_a_tool_that_fails_tells_the_model_its_own_words_or_none(caplog):
    generator = AgentGenerator(model=saying(call("refuse"), call("break_down")), tools=[refuse, break_down])
    received = await run(generator)
    assert results_of(received) == [{"error": "Not on a Sunday."}, {"error": "The tool failed."}]
    assert received[-1] == Finish("stop")
    assert "break_down failed: ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("tool", [dawdle, dawdle_in_a_thread])
async def test_a_tool_that_takes_too_long_is_given_up(tool):
    generator = AgentGenerator(model=saying(call(tool.__name__)), tools=[tool], tool_timeout=0.1)
    (result,) = results_of(await run(generator))
    assert "Timed out" in result["error"]


async def test_wrong_arguments_are_the_models_to_mend():
    model = saying(call("twice", '{"number": "many"}'), call("greet", "{"))
    received = await run(AgentGenerator(model=model, tools=[twice, greet]))
    (ended, _) = [part for part in received if isinstance(part, StepEnded)]
    assert ended.calls[0].arguments == {"number": "many"}
    assert all("error" in result for result in results_of(received))
    assert received[-1] == Finish("stop")


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"tools: .*twice"):
        AgentGenerator(tools=[twice, twice])


@pytest.mark.parametrize(
    ("tools", "said", "repeatable"),
    [((), None, True), ((), False, False), ((twice,), None, False), ((twice,), True, True)],
)
def test_only_what_changes_nothing_is_repeated_unasked(tools, said, repeatable):
    assert AgentGenerator(tools=tools, repeatable=said).repeatable is repeatable


# Failures


@pytest.mark.parametrize(
    ("refusal", "kind", "text"),
    [
        (Refusal(401, {"error": {"message": f"no {SERVER_KEY}"}}), "credentials", "Incorrect API key provided"),
        (Refusal(403, {"error": {"message": "no"}}), "credentials", "Incorrect API key provided"),
        (Refusal(429, {"error": {"message": "slow", "code": "insufficient_quota"}}), "quota", "slow"),
        (Refusal(402, {"error": {"message": "pay"}}), "quota", "pay"),
        (Refusal(429, {"error": {"message": "slow"}}), "transient", "slow"),
        (Refusal(503, {"error": {"message": "later"}}), "transient", "later"),
        (Refusal(400, {"error": {"message": "odd"}}), "invalid", "odd"),
        (Refusal(404, {"error": {"message": "no such model"}}), "invalid", "no such model"),
        (Refusal(400, {"error": {"message": "rude", "code": "content_filter"}}), "content", "rude"),
    ],
)
async def test_what_the_provider_refuses_is_told_by_kind(provider, generator, refusal, kind, text):
    provider.then(refusal)
    error, received = await failure(generator, request())
    assert (error.kind, str(error)) == (kind, text)
    assert received == [StepBegan()]
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"type": "authentication_error", "message": "no"}, "credentials"),
        (400, {"type": "billing_error", "message": "Your credit balance is too low"}, "quota"),
        (529, {"type": "overloaded_error", "message": "later"}, "transient"),
        (400, {"type": "invalid_request_error", "message": "odd"}, "invalid"),
    ],
)
async def test_what_another_provider_refuses_too(provider, generator, status, body, kind):
    provider.then(Refusal(status, {"type": "error", "error": body}, {"retry-after": "7"}))
    error, _ = await failure(generator, request(provider="anthropic"))
    assert error.kind == kind
    if kind != "credentials":
        assert str(error) == body["message"]
    if kind == "transient":
        assert error.retry_after == 7


async def test_a_provider_may_ask_for_a_pause(provider, generator):
    provider.then(Refusal(429, {"error": {"message": "slow"}}, {"retry-after": "12"}))
    error, _ = await failure(generator, request())
    assert (error.kind, error.retry_after) == ("transient", 12)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param(Stream([token("a"), Cut()]), "transient", id="cut"),
        pytest.param(Stream([token("a"), Stall()]), "timeout", id="silent"),
        pytest.param(Stream([], silent_for=30), "timeout", id="never answered"),
    ],
)
async def test_a_provider_that_breaks_off_has_failed_for_now(provider, script, kind):
    generator = agent_of(provider, read_timeout=0.3)
    provider.then(script)
    error, _ = await failure(generator, request())
    assert error.kind == kind
    await generator.close()


@pytest.mark.parametrize("name", ["anthropic", "google"])
async def test_another_provider_that_falls_silent_too(provider, name):
    generator = agent_of(provider, read_timeout=0.3)
    provider.then(Stream([], silent_for=30))
    async with asyncio.timeout(10):
        error, _ = await failure(generator, request(provider=name))
    assert error.kind == "timeout"
    await generator.close()


async def test_a_failure_in_a_later_step_comes_after_the_earlier_ones(provider, generator):
    provider.then(calling(SUM), Refusal(503, {"error": {"message": "later"}}))
    error, received = await failure(generator, request())
    assert error.kind == "transient"
    assert calls_of(received) == [["calculate"]]
    assert received[-1] == StepBegan()


async def test_a_filtered_answer_is_told_as_such(provider, generator):
    provider.then(
        Stream([chunk(choices=[{"index": 0, "delta": {"role": "assistant"}}]), finish("content_filter"), DONE])
    )
    error, _ = await failure(generator, request())
    assert error.kind == "content"


async def test_nobody_listening_is_a_passing_failure(generator):
    async with FakeOpenAI() as gone:
        address = gone.base_url
    error, _ = await failure(generator, request(base_url=address))
    assert error.kind == "transient"


# Keys


async def test_the_servers_key_goes_to_its_own_provider_alone(provider, generator):
    async with FakeOpenAI(answer("x"), answer("x")) as other:
        await parts(generator, request(base_url=other.base_url))
        await parts(generator, request(base_url=other.base_url, api_key_env="TEAM_KEY"))
        without, with_own = (received.headers["authorization"] for received in other.requests)
    assert SERVER_KEY not in without
    assert with_own == "Bearer team-key"


@pytest.mark.parametrize("name", ["openai", "anthropic", "google"])
async def test_without_a_key_the_provider_itself_is_not_asked(name):
    generator = AgentGenerator(environment={})
    error, _ = await failure(generator, request(provider=name))
    assert (error.kind, str(error)[:24]) == ("credentials", "No API key is configured")
    await generator.close()


# Stopping


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_closing_the_stream_closes_the_providers_connection(provider, generator, name):
    begun = [token("a")] if name == "openai" else [fake_anthropic.begins(), *fake_anthropic.text_block(0, "a")[:2]]
    provider.then(Stream([*begun, Stall()]))
    answered = generator.generate(request(provider=name))
    assert [await anext(answered) for _ in range(2)] == [StepBegan(), Text("a")]
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


async def test_a_tool_is_cancelled_with_its_run():
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> str:
        begun.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()
        return "never"

    generator = AgentGenerator(model=saying(call("wait")), tools=[wait])
    running = asyncio.create_task(run(generator))
    await asyncio.wait_for(begun.wait(), 10)
    running.cancel()
    async with asyncio.timeout(1):
        await asyncio.wait([running])
    assert ended.is_set()


async def test_a_run_does_not_wait_for_a_tool_in_a_thread():
    begun, may_end = threading.Event(), threading.Event()

    def wait() -> str:
        begun.set()
        may_end.wait(30)
        return "late"

    generator = AgentGenerator(model=saying(call("wait")), tools=[wait])
    running = asyncio.create_task(run(generator))
    await asyncio.to_thread(begun.wait, 10)
    running.cancel()
    ended, _ = await asyncio.wait([running], timeout=5)
    may_end.set()
    assert ended


# Settings


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"modle": "m"}, "modle"),
        ({"provider": "acme"}, "provider"),
        ({"max_steps": 0}, "max_steps"),
        ({"max_steps": 6}, "max_steps"),
        ({"tools": ["launch"]}, "tools"),
        ({"tools": "calculate"}, "tools"),
        ({"folder": "/no/such/folder"}, "folder"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"history_limit": -1}, "history_limit"),
        ({"base_url": "https://user:secret@host/v1"}, "base_url"),
        ({"api_key_env": "CHATLEDGER_MASTER_KEY"}, "api_key_env"),
        ({"api_key": "sk-1"}, "api_key"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(generator, settings, name):
    with pytest.raises(SettingsError, match=rf"\b{name}\b") as caught:
        generator.check_settings({"model": "m", **settings})
    assert "secret" not in str(caught.value)


def test_settings_stay_as_the_app_has_them(generator):
    settings = {"model": "m", "tools": ["calculate"]}
    generator.check_settings(settings)
    assert generator.settings_for("/script tokens=3", settings) is settings


def test_a_wrong_address_stops_the_start():
    with pytest.raises(ValueError, match="base_url"):
        AgentGenerator(base_urls={"anthropic": "localhost:8000"})


# Manners


async def test_nothing_of_a_message_is_logged(provider, generator, caplog):
    caplog.set_level(logging.DEBUG)
    provider.then(calling(("calculate", {"expression": "canary"})), answer("canary-answer"))
    provider.then(Refusal(400, {"error": {"message": "canary-refusal"}}))
    await parts(generator, request("canary-query"))
    await failure(generator, request("canary-query"))
    assert "canary" not in caplog.text
    assert SERVER_KEY not in caplog.text


def test_importing_the_adapter_does_not_import_the_library():
    module = "chatledger.adapters.generator.agent"
    names = ("pydantic_ai", "pydantic", "openai", "anthropic", "google.genai", "httpx2", "simpleeval")
    code = f"import sys, {module}; print(*(name for name in {names} if name in sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() == []


@pytest.mark.parametrize(("missing", "provider"), [("pydantic_ai", "openai"), ("anthropic", "anthropic")])
def test_without_the_packages_the_app_is_refused_with_the_way_to_get_them(missing, provider):
    code = (
        "import importlib.util as u; found = u.find_spec\n"
        f"u.find_spec = lambda name, *rest: None if name == {missing!r} else found(name, *rest)\n"
        "from chatledger.adapters.generator.agent import AgentGenerator\n"
        f"try: AgentGenerator().check_settings({{'model': 'm', 'provider': {provider!r}}})\n"
        "except Exception as error: print(error)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert missing in shown
    assert "chatledger[agent]" in shown
