"""Agents over HTTP: the order of their events, what history keeps of them, stopping, and taking over."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.fake_openai import FakeOpenAI, Refusal, Stall, Stream, answer, calling, token
from tests.support.server import LiveServer, answer_of, chat_body, events_of, until

SUM = ("calculate", {"expression": "2 + 3 * 4"})
TABLE = ("write_table", {"file_name": "sums.csv", "columns": ["n"], "rows": [[14]]})


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


async def new_agent(server: LiveServer, provider: FakeOpenAI, **settings: Any) -> httpx.AsyncClient:
    """A client of a new app that asks this provider."""
    chosen = {"model": "m", "base_url": provider.base_url, **settings}
    return server.client(await server.new_key("agent-chat", configuration={"generator": "agent", "settings": chosen}))


async def ask(client: httpx.AsyncClient, query: str = "hello", **more: Any) -> list[dict[str, Any]]:
    response = await client.post(
        "/v1/chat-messages", json=chat_body(query, response_mode="streaming", auto_generate_name=False, **more)
    )
    assert response.status_code == 200, response.text
    return events_of(response.text)


async def message_of(client: httpx.AsyncClient, event: dict[str, Any]) -> dict[str, Any]:
    query = {"conversation_id": event["conversation_id"], "user": "ada"}
    (message,) = (await client.get("/v1/messages", params=query)).json()["data"]
    return message


async def test_the_events_of_an_agent_in_order_to_the_byte(server):
    client = await server.new_client("agent-chat", steps=2, makes_files=True, text="The end. ")
    body = chat_body(response_mode="streaming")
    told = (await client.post("/v1/chat-messages", json=body)).text
    events = events_of(told)
    first = events[0]
    common = (
        f'"conversation_id":"{first["conversation_id"]}","message_id":"{first["message_id"]}",'
        f'"created_at":{first["created_at"]},"task_id":"{first["task_id"]}"'
    )
    thoughts = {event["position"]: event["id"] for event in events if event["event"] == "agent_thought"}
    files = [event for event in events if event["event"] == "message_file"]
    assert len(thoughts) == 3
    assert len({event["id"] for event in files}) == 2

    def thought(position: int, text: str = "", tool: str = "", returned: str = "", file: str = "") -> str:
        labels = '{"script":{"en_US":"Script"}}' if tool else "{}"
        given = json.dumps(f'{{"script":{{"step":{position}}}}}' if tool else "")
        return (
            f'data: {{"event":"agent_thought",{common},"id":"{thoughts[position]}","position":{position},'
            f'"thought":"{text}","observation":{json.dumps(returned)},"tool":"{tool}","tool_labels":{labels},'
            f'"tool_input":{given},"message_files":[{file}]}}'
        )

    def text(piece: str) -> str:
        return f'data: {{"event":"agent_message",{common},"id":"{first["message_id"]}","answer":{json.dumps(piece)}}}'

    def file(number: int) -> str:
        made = files[number - 1]
        return (
            f'data: {{"event":"message_file",{common},"id":"{made["id"]}","type":"{made["type"]}",'
            f'"belongs_to":"assistant","url":"{made["url"]}"}}'
        )

    ids = [f'"{event["id"]}"' for event in files]
    expected = [
        thought(1),
        text("s1"),
        thought(1, "s1 ", "script"),
        file(1),
        thought(1, "s1 ", "script", '{"script":1}', ids[0]),
        thought(2),
        text("\ns2"),
        thought(2, "s2 ", "script"),
        file(2),
        thought(2, "s2 ", "script", '{"script":2}', ids[1]),
        thought(3),
    ]
    blocks = told.split("\n\n")
    assert blocks[: len(expected)] == expected
    *deltas, last_thought, end, nothing = blocks[len(expected) :]
    assert answer_of(events_of("\n\n".join(deltas))) == "\nThe end."
    assert (last_thought, nothing) == (thought(3, "The end. "), "")
    assert events_of(end)[0]["event"] == "message_end"
    stored = await message_of(client, first)
    assert stored["answer"] == answer_of(events) == "s1\ns2\nThe end."


async def test_an_agent_answers_and_its_steps_are_kept(server, provider):
    client = await new_agent(server, provider, instructions="Be {{tone}}.")
    provider.then(calling(SUM, SUM, TABLE, saying=("Let me ", "see.\n")), answer("  It is ", "14.\n"))
    events = await ask(client)
    shown = [event["event"] for event in events]
    assert shown[0] == "agent_thought"
    assert shown.index("message_file") < shown.index("message_end") == len(shown) - 1
    names = "calculate;calculate (2);write_table"
    message = await message_of(client, events[0])
    assert message["answer"] == answer_of(events) == "Let me see.\n  It is 14."
    first, second = message["agent_thoughts"]
    (file,) = [event for event in events if event["event"] == "message_file"]
    assert first == {
        "id": first["id"],
        "chain_id": None,
        "message_id": events[0]["message_id"],
        "position": 1,
        "thought": "Let me see.\n",
        "tool": names,
        "tool_labels": {
            "calculate": {"en_US": "Calculate"},
            "calculate (2)": {"en_US": "Calculate"},
            "write_table": {"en_US": "Write table"},
        },
        "tool_input": first["tool_input"],
        "observation": first["observation"],
        "created_at": message["created_at"],
        "files": [file["id"]],
        "message_files": [file["id"]],
    }
    given, returned = json.loads(first["tool_input"]), json.loads(first["observation"])
    assert list(given) == list(returned) == names.split(";")
    assert given["calculate (2)"] == SUM[1]
    assert (returned["calculate"], returned["calculate (2)"]) == (14, 14)
    assert (second["position"], second["tool"], second["tool_input"], second["observation"]) == (2, "", "", "")
    latest = {event["id"]: event for event in events if event["event"] == "agent_thought"}
    kept = {thought["id"]: thought for thought in message["agent_thoughts"]}
    for name in ("position", "thought", "tool", "tool_labels", "tool_input", "observation", "message_files"):
        assert {key: event[name] for key, event in latest.items()} == {key: each[name] for key, each in kept.items()}
    usage = events[-1]["metadata"]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (17, 7, 24)
    assert (await client.get(file["url"])).content == b"n\r\n14\r\n"


async def test_what_an_agent_cites_stands_in_the_metadata(server, provider, tmp_path):
    (tmp_path / "tides.md").write_text("# Tides\n\nThe moon pulls at the sea.\n")
    client = await new_agent(server, provider, folder=str(tmp_path), tools=["search_documents"])
    search = ("search_documents", {"question": "tides"})
    provider.then(calling(search), calling(search), answer("The moon."))
    events = await ask(client)
    (cited,) = events[-1]["metadata"]["retriever_resources"]
    assert (cited["position"], cited["document_name"]) == (1, "tides.md")


async def test_an_agent_of_an_ordinary_chat_shows_no_thoughts_on_the_way(server, provider):
    settings = {"model": "m", "base_url": provider.base_url}
    client = server.client(await server.new_key(configuration={"generator": "agent", "settings": settings}))
    provider.then(calling(SUM), answer("14"))
    events = await ask(client)
    assert [event["event"] for event in events] == ["message", "message_end"]
    assert [each["tool"] for each in (await message_of(client, events[0]))["agent_thoughts"]] == ["calculate", ""]


@pytest.mark.usefixtures("in_one_process")
async def test_a_stop_in_the_middle_of_a_step_ends_the_providers_work(server, provider):
    client = await new_agent(server, provider)
    provider.then(calling(SUM, saying=("Let me see.",)), Stream([token("It "), Stall()]))
    asking = asyncio.create_task(ask(client, "stop me"))
    received = await provider.asked(2)
    await asyncio.wait_for(received.started.wait(), 5)
    running = server.running.worker._running.values()
    (attempt,) = [each for each in running if each.message.created.query == "stop me"]

    async def has_said_it() -> bool:
        return attempt.message.answer.endswith("It")

    await until(has_said_it)
    stopped = await client.post(f"/v1/chat-messages/{attempt.message.created.task_id}/stop", json={"user": "ada"})
    assert stopped.json() == {"result": "success"}
    events = await asyncio.wait_for(asking, 2)
    await asyncio.wait_for(received.closed.wait(), 2)
    assert events[-1]["event"] == "message_end"
    message = await message_of(client, events[0])
    assert (message["answer"], message["status"]) == ("Let me see.\nIt", "normal")
    assert [each["observation"] for each in message["agent_thoughts"]] == ['{"calculate":14}', ""]


@pytest.mark.parametrize(
    ("refusal", "code", "http_status"),
    [
        (Refusal(401, {"error": {"message": "no"}}), "provider_not_initialize", 403),
        (Refusal(402, {"error": {"message": "pay"}}), "provider_quota_exceeded", 429),
        (Refusal(400, {"error": {"message": "odd"}}), "completion_request_error", 400),
    ],
)
async def test_a_provider_that_refuses_in_a_later_step(server, provider, refusal, code, http_status):
    client = await new_agent(server, provider)
    provider.then(calling(SUM, saying=("Hm.",)), refusal)
    events = await ask(client)
    error = events[-1]
    assert (error["event"], error["code"], error["status"], error["http_status"]) == ("error", code, 400, http_status)
    message = await message_of(client, events[0])
    assert (message["status"], message["answer"]) == ("error", "Hm.")
    assert [each["tool"] for each in message["agent_thoughts"]] == ["calculate", ""]


async def test_another_attempt_begins_its_steps_again_in_place_of_the_earlier_ones(server, provider):
    client = await new_agent(server, provider)
    busy = Refusal(503, {"error": {"message": "busy"}}, {"retry-after": "0"})
    provider.then(calling(SUM), calling(TABLE), busy, calling(SUM), answer("14"))
    events = await ask(client)
    thoughts = [event for event in events if event["event"] == "agent_thought"]
    assert [event["position"] for event in thoughts] == [1, 1, 1, 2, 2, 2, 3, 1, 1, 1, 2, 2]
    assert len({event["id"] for event in thoughts}) == 3
    message = await message_of(client, events[0])
    assert [each["tool"] for each in message["agent_thoughts"]] == ["calculate", ""]
    assert [each["message_files"] for each in message["agent_thoughts"]] == [[], []]
    assert message["answer"] == answer_of(events) == "14"


@pytest.mark.parametrize(
    ("action", "answered", "kept"),
    [
        ("overridden", "s1\n**\ns3\nso it is", ["s1 ", "** ", "s3 ", "so it is"]),
        ("direct_output", "Not that.", ["", ""]),
    ],
)
async def test_what_may_not_be_said_stands_in_no_thought_either(server, action, answered, kept):
    outputs = {"enabled": True, "action": action, "preset_response": "Not that."}
    avoidance = {"enabled": True, "keywords": "s2", "outputs_config": outputs}
    settings = {"steps": 3, "text": "so it is"}
    configuration = {"settings": settings, "sensitive_word_avoidance": avoidance}
    client = server.client(await server.new_key("agent-chat", configuration=configuration))
    events = await ask(client)
    message = await message_of(client, events[0])
    assert message["answer"] == answer_of(events) == answered
    shown = [event["thought"] for event in events if event["event"] == "agent_thought"]
    assert "s1 " in shown
    assert not any("s2" in thought for thought in shown)
    assert [thought["thought"] for thought in message["agent_thoughts"]] == kept
    assert message["agent_thoughts"][0]["tool"] == "script"


async def test_a_recorded_stream_of_an_agent_is_the_same_each_time(server):
    client = await server.new_client("agent-chat", steps=1, makes_files=True, tokens=2)
    events = await ask(client)
    path = f"/v1/messages/{events[0]['message_id']}/stream"
    first, second = (await client.get(path)).text, (await client.get(path)).text
    assert first == second
    (file,) = [event for event in events_of(first) if event["event"] == "message_file"]
    assert re.fullmatch(r"/v1/files/[0-9a-f-]{36}/preview", file["url"])
