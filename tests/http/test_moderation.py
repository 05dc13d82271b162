"""What may not be asked or answered, as clients meet with it, and as the ledger has it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.fake_openai import (
    Cut,
    FakeOpenAI,
    Pause,
    Received,
    Refusal,
    Stall,
    Stream,
    answer,
    moderation,
    token,
)
from tests.support.server import LiveServer, answer_of, chat_body, events_of

NO_QUESTION = "Ask something else."
NO_ANSWER = "I had better not say that."
ENDS = ("MessageCompleted", "MessageStopped", "MessageErrored")


def avoiding(*, inputs: Any = None, outputs: Any = None, **more: Any) -> dict[str, Any]:
    """A configuration with these stages; ``True`` is the usual preset answer."""
    stages = {"inputs_config": (inputs, NO_QUESTION), "outputs_config": (outputs, NO_ANSWER)}
    settings = {
        name: {"enabled": True, "preset_response": preset} if given is True else {"enabled": True, **given}
        for name, (given, preset) in stages.items()
        if given
    }
    return {"sensitive_word_avoidance": {"enabled": True, **settings, **more}}


async def new_chat(server: LiveServer, avoidance: dict[str, Any], **script: Any) -> httpx.AsyncClient:
    variables = [{"variable": "tone", "type": "text-input"}]
    return server.client(await server.new_key(configuration=avoidance | {"user_input_form": variables}, **script))


async def stream(client: httpx.AsyncClient, query: str = "hello", **more: Any) -> list[dict[str, Any]]:
    response = await client.post("/v1/chat-messages", json=chat_body(query, response_mode="streaming", **more))
    assert response.status_code == 200, response.text
    return events_of(response.text)


async def stored(client: httpx.AsyncClient, events: list[dict[str, Any]]) -> dict[str, Any]:
    query = {"conversation_id": events[0]["conversation_id"]}
    (message,) = (await client.get("/v1/messages", params=query)).json()["data"]
    return message


async def names(client: httpx.AsyncClient, events: list[dict[str, Any]]) -> list[str]:
    page = (await client.get(f"/v1/messages/{events[0]['message_id']}/events", params={"limit": 100})).json()
    return [event["type"] for event in page["data"]]


def assert_ends_once(recorded: list[str], end: str) -> None:
    assert [name for name in recorded if name in ENDS] == [end]


# The question


@pytest.mark.parametrize(
    "body",
    [{"query": "Tell me a SECRET"}, {"query": "hello", "inputs": {"tone": "secretive"}}],
    ids=["query", "input"],
)
async def test_a_question_that_may_not_be_asked_is_answered_without_the_model(server, body):
    chat = await new_chat(server, avoiding(inputs=True, keywords="secret\npassword"), tokens=20)

    events = await stream(chat, **body)

    assert [event["event"] for event in events] == ["message", "message_end"]
    assert answer_of(events) == NO_QUESTION
    metadata = events[-1]["metadata"]
    assert (metadata["usage"]["total_tokens"], metadata["usage"]["total_price"]) == (0, "0")
    assert (metadata["usage"]["latency"], metadata["status"]) == (0, "completed")
    message = await stored(chat, events)
    assert (message["answer"], message["status"], message["total_tokens"]) == (NO_QUESTION, "normal", 0)
    recorded = await names(chat, events)
    assert recorded == [
        "MessageCreated",
        "GenerationStarted",
        "ModerationHit",
        "AnswerChunkAppended",
        "MessageCompleted",
    ]


async def test_a_blocking_caller_gets_the_preset_answer_as_well(server):
    chat = await new_chat(server, avoiding(inputs=True, keywords="secret"), tokens=20)
    given = (await chat.post("/v1/chat-messages", json=chat_body("a secret"))).json()
    assert (given["answer"], given["metadata"]["usage"]["total_tokens"]) == (NO_QUESTION, 0)


async def test_what_may_be_asked_is_answered(server):
    chat = await new_chat(server, avoiding(inputs=True, outputs=True, keywords="secret"), tokens=3)
    events = await stream(chat)
    assert answer_of(events) == "t0 t1 t2 "
    assert "ModerationHit" not in await names(chat, events)


async def test_a_stage_that_is_off_judges_nothing(server):
    chat = await new_chat(server, avoiding(outputs=True, keywords="secret"), tokens=3)
    assert answer_of(await stream(chat, "a secret")) == "t0 t1 t2 "
    chat = await new_chat(server, avoiding(inputs=True, keywords="t1"), tokens=3)
    assert answer_of(await stream(chat)) == "t0 t1 t2 "


# The answer


@pytest.mark.parametrize("interval", [0, 4])
async def test_an_answer_that_may_not_be_said_gives_way_in_mid_stream(server, interval):
    chat = await new_chat(server, avoiding(outputs=True, keywords=("t40 t41",)), tokens=80, interval_ms=interval)

    events = await stream(chat)

    assert [event["event"] for event in events[-2:]] == ["message_replace", "message_end"]
    assert {event["event"] for event in events[:-2]} <= {"message"}
    assert (events[-2]["answer"], events[-2]["reason"]) == (NO_ANSWER, "")
    delivered = "".join(event["answer"] for event in events[:-2])
    assert "t40 ".startswith(delivered[delivered.find("t40 ") :]) or "t40" not in delivered
    assert (events[-1]["metadata"]["status"], events[-1]["metadata"]["stopped_by"]) == ("stopped", "moderation")
    message = await stored(chat, events)
    assert (message["answer"], message["status"], message["error"]) == (NO_ANSWER, "normal", None)
    recorded = await names(chat, events)
    assert recorded[-3:] == ["ModerationHit", "AnswerReplaced", "MessageStopped"]
    assert_ends_once(recorded, "MessageStopped")


async def test_a_replay_gives_the_same_frames(server):
    chat = await new_chat(server, avoiding(outputs=True, keywords=("t4",)), tokens=8, interval_ms=4)
    events = await stream(chat)
    again = events_of((await chat.get(f"/v1/messages/{events[0]['message_id']}/stream")).text)
    assert again == events


async def test_a_blocking_caller_gets_the_preset_answer_and_nothing_else(server):
    chat = await new_chat(server, avoiding(outputs=True, keywords=("t4",)), tokens=8)
    given = (await chat.post("/v1/chat-messages", json=chat_body())).json()
    assert (given["answer"], given["metadata"]["stopped_by"]) == (NO_ANSWER, "moderation")


async def test_an_answer_goes_on_without_what_was_found(server):
    overridden = {"action": "overridden"}
    chat = await new_chat(server, avoiding(outputs=overridden, keywords=("t2 t3", "t5")), tokens=8, interval_ms=3)
    events = await stream(chat)
    expected = "t0 t1 ***** t4 ** t6 t7 "
    assert answer_of(events) == (await stored(chat, events))["answer"] == expected
    assert events[-1]["metadata"]["status"] == "completed"
    assert_ends_once(await names(chat, events), "MessageCompleted")


async def test_what_an_agent_thought_goes_with_its_answer(server):
    key = await server.new_key("agent-chat", configuration=avoiding(outputs=True, keywords="s3"), steps=3, text="End.")
    agent = server.client(key)
    events = await stream(agent)
    shown = {event["id"]: event["thought"] for event in events if event["event"] == "agent_thought"}
    assert any(event.get("thought") for event in events), "they were delivered before"
    assert set(shown.values()) == {""}
    assert [event["event"] for event in events[-2:]] == ["message_replace", "message_end"]
    message = await stored(agent, events)
    assert {thought["thought"] for thought in message["agent_thoughts"]} == {""}
    assert (message["answer"], answer_of(events)) == (NO_ANSWER, NO_ANSWER)


# By the provider


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


def by_provider(**stages: Any) -> dict[str, Any]:
    return avoiding(type="openai_moderation", **stages)


def flags(word: str) -> Any:
    def respond(request: Received) -> Refusal:
        return moderation(word in request.body["input"])

    return respond


async def test_a_question_is_overridden_before_the_model_sees_it(serve, provider):
    provider.then(answer("fine"))
    avoidance = avoiding(inputs={"action": "overridden"}, keywords="secret")
    openai = {"generator": "openai_compatible", "settings": {"model": "m", "system_prompt": "Be {{tone}}."}}
    async with serve(openai_base_url=provider.base_url) as server:
        chat = await new_chat(server, avoidance | openai)
        events = await stream(chat, "my secret is out", inputs={"tone": "secretive"}, auto_generate_name=False)
        assert answer_of(events) == "fine"
        assert (await stored(chat, events))["query"] == "my secret is out"
        assert "ModerationHit" in await names(chat, events)
    asked = [message["content"] for message in provider.requests[0].body["messages"]]
    assert asked == ["Be ******ive.", "my ****** is out"]


async def test_what_may_not_be_asked_is_no_part_of_a_later_prompt(serve, provider):
    provider.then(answer("fine"))
    openai = {"generator": "openai_compatible", "settings": {"model": "m"}}
    async with serve(openai_base_url=provider.base_url) as server:
        chat = await new_chat(server, avoiding(inputs=True, keywords="secret") | openai)
        events = await stream(chat, "a secret", auto_generate_name=False)
        await stream(chat, "hello", conversation_id=events[0]["conversation_id"])
    assert [message["content"] for message in provider.requests[0].body["messages"]] == ["hello"]


async def test_earlier_questions_are_overridden_in_later_prompts_too(serve, provider):
    provider.then(answer("fine"), answer("good"))
    openai = {"generator": "openai_compatible", "settings": {"model": "m"}}
    async with serve(openai_base_url=provider.base_url) as server:
        chat = await new_chat(server, avoiding(inputs={"action": "overridden"}, keywords="secret") | openai)
        events = await stream(chat, "my secret", auto_generate_name=False)
        await stream(chat, "hello", conversation_id=events[0]["conversation_id"])
    asked = [message["content"] for message in provider.requests[1].body["messages"]]
    assert asked == ["my ******", "fine", "hello"]


@pytest.mark.parametrize("tokens", [12, 200], ids=["in what is left at the end", "in the middle"])
async def test_a_verdict_that_comes_later_replaces_what_was_delivered(serve, provider, tokens):
    provider.always("/moderations", flags("t7 "))
    async with serve(openai_base_url=provider.base_url) as server:
        chat = await new_chat(server, by_provider(outputs=True), tokens=tokens, interval_ms=2)
        events = await stream(chat)
        assert [event["event"] for event in events[-2:]] == ["message_replace", "message_end"]
        assert answer_of(events) == (await stored(chat, events))["answer"] == NO_ANSWER
        assert_ends_once(await names(chat, events), "MessageStopped")
    lengths = [len(request.body["input"]) for request in provider.requests]
    assert len(lengths) == 1
    assert lengths[0] <= 310


async def test_an_answer_is_judged_each_three_hundred_characters_and_at_its_end(serve, provider):
    provider.always("/moderations", flags("never"))
    async with serve(openai_base_url=provider.base_url) as server:
        chat = await new_chat(server, by_provider(outputs=True), tokens=200)
        events = await stream(chat)
        whole = answer_of(events)
        assert events[-1]["metadata"]["status"] == "completed"
    judged = [request.body["input"] for request in provider.requests]
    assert judged[-1] == whole == "".join(f"t{number} " for number in range(200))
    steps = [len(later) - len(earlier) for earlier, later in zip(["", *judged], judged, strict=False)]
    assert all(300 < step <= 305 for step in steps[:-1])


async def test_what_a_stopped_answer_has_delivered_is_judged(serve, provider):
    provider.always("/moderations", flags("t3 "))
    async with serve(openai_base_url=provider.base_url) as server:
        chat = await new_chat(server, by_provider(outputs=True), tokens=75, interval_ms=200)
        shown: list[dict[str, Any]] = []
        async with chat.stream("POST", "/v1/chat-messages", json=chat_body(response_mode="streaming")) as response:
            async for line in response.aiter_lines():
                shown += events_of(line)
                if shown and "t3 " in answer_of(shown):
                    break
            await chat.post(f"/v1/chat-messages/{shown[0]['task_id']}/stop", json={"user": "ada"})
        async with asyncio.timeout(10):
            while (message := await stored(chat, shown))["answer"] != NO_ANSWER:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        recorded = await names(chat, shown)
        assert (message["status"], recorded.count("StopRequested")) == ("normal", 1)
        assert_ends_once(recorded, "MessageStopped")


@pytest.mark.parametrize("stage", ["inputs", "outputs"])
async def test_without_a_verdict_the_message_fails(serve, provider, stage):
    provider.always("/moderations", lambda _: Refusal(500, {"error": {"message": "Overloaded."}}))
    settings = {"first_retry_delay": 0.01, "longest_retry_delay": 0.01}
    async with serve(openai_base_url=provider.base_url, **settings) as server:
        chat = await new_chat(server, by_provider(**{stage: True}), tokens=5)
        events = await stream(chat)
        assert (events[-1]["event"], events[-1]["code"]) == ("error", "completion_request_error")
        assert_ends_once(await names(chat, events), "MessageErrored")
        if stage == "inputs":
            assert answer_of(events) == ""
            assert (await names(chat, events)).count("GenerationRequeued") == 2


async def test_an_answer_that_is_stopped_during_a_verdict_is_judged_again(serve, provider):
    provider.always("/moderations", lambda _: Stream([Stall()]) if len(provider.requests) == 1 else moderation(True))
    async with serve(openai_base_url=provider.base_url) as server:
        chat = await new_chat(server, by_provider(outputs=True), tokens=90, interval_ms=1)
        shown: list[dict[str, Any]] = []
        async with chat.stream("POST", "/v1/chat-messages", json=chat_body(response_mode="streaming")) as response:
            async for line in response.aiter_lines():
                if not shown and events_of(line):
                    await provider.asked()
                    await chat.post(f"/v1/chat-messages/{events_of(line)[0]['task_id']}/stop", json={"user": "ada"})
                shown += events_of(line)
        assert (answer_of(shown), (await stored(chat, shown))["answer"]) == (NO_ANSWER, NO_ANSWER)
        assert_ends_once(await names(chat, shown), "MessageStopped")


async def test_masked_words_do_not_write_the_answer_again(server):
    chat = await new_chat(server, avoiding(outputs={"action": "overridden"}, keywords="t"), tokens=20, interval_ms=1)
    events = await stream(chat)
    assert answer_of(events) == "".join(f"*{number} " for number in range(20))
    assert "message_replace" not in {event["event"] for event in events}
    recorded = await names(chat, events)
    assert (recorded.count("ModerationHit"), recorded.count("AnswerReplaced")) == (1, 0)


async def test_after_masked_words_no_other_attempt_begins(serve, provider):
    provider.then(Stream([token("secret"), Pause(0.1), Cut()]), answer("fine"))
    openai = {"generator": "openai_compatible", "settings": {"model": "m"}}
    async with serve(openai_base_url=provider.base_url, first_retry_delay=0.01) as server:
        chat = await new_chat(server, avoiding(outputs={"action": "overridden"}, keywords="secret") | openai)
        events = await stream(chat, auto_generate_name=False)
        assert (events[-1]["event"], answer_of(events)) == ("error", "******")
        assert_ends_once(await names(chat, events), "MessageErrored")
