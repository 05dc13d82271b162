"""Many followers, slow ones, and what each is shown of everything that can happen to an answer."""

import asyncio
import contextlib
import socket
from typing import Any
from uuid import UUID

import httpx
import pytest

from chatledger.application.ledger.tail import ENVELOPE, MAX_CHARACTERS
from chatledger.application.queries.following import Follower, Following
from chatledger.application.queries.listening import EVENTS_AT_ONCE
from chatledger.domain.message import Message
from chatledger.domain.values import Usage
from tests.support.databases import ON_SQLITE
from tests.support.server import DEADLINE, LiveServer, a_context, answer_of, chat_body, events_of, frames_of, until

MANY = 200
PIECE = "x" * 20_000
TIMES, AT_ONCE = 8, 100
"""So many pieces, together more than the sockets of both sides and a page of the ledger hold."""

HISTORIES = {
    "text": ("chat", "tokens=10 interval_ms=15"),
    "the steps of an agent, and files": ("agent-chat", "tokens=4 interval_ms=15 steps=2 tool_ms=15 makes_files=true"),
    "an error in the middle": ("chat", "tokens=10 interval_ms=15 fail_after=5 fail_as=invalid"),
    "nothing but an error": ("chat", "tokens=10 fail_as=invalid"),
    "another attempt": ("chat", "tokens=10 interval_ms=15 fail_as=transient fail_times=1 vary_by_attempt=true"),
    "a replacement by moderation": ("chat", "tokens=40 interval_ms=4"),
    "a stop": ("chat", "tokens=1000 interval_ms=15"),
}
AVOIDING = {
    "sensitive_word_avoidance": {
        "enabled": True,
        "keywords": ["t30 t31"],
        "outputs_config": {"enabled": True, "preset_response": "I had better not say that."},
    }
}


async def begin(client: httpx.AsyncClient, query: str) -> dict[str, Any]:
    response = await client.post("/v1/chat-messages", json=chat_body(query, response_mode="async"))
    assert response.status_code == 202, response.text
    accepted: dict[str, Any] = response.json()
    return accepted


async def follow(client: httpx.AsyncClient, message_id: str, after: str = "") -> str:
    response = await client.get(f"/v1/messages/{message_id}/stream", params={"after": after})
    assert response.status_code == 200
    return response.text


async def first_text(client: httpx.AsyncClient, message_id: str) -> None:
    async with client.stream("GET", f"/v1/messages/{message_id}/stream") as response:
        async for chunk in response.aiter_text():
            if '"answer"' in chunk:
                return


async def connected(server: LiveServer, key: str, message_id: str) -> socket.socket:
    """A client that has asked for the stream, and reads when the test reads."""
    host, port = server.base_url.removeprefix("http://").split(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, (host, int(port)))
    head = f"GET /v1/messages/{message_id}/stream HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    await loop.sock_sendall(made, head.encode())
    return made


async def all_of(client: socket.socket) -> str:
    """What comes to its end, without the head."""
    loop, read = asyncio.get_running_loop(), bytearray()
    async with asyncio.timeout(DEADLINE):
        while piece := await loop.sock_recv(client, 1024 * 1024):
            read += piece
    return bytes(read).partition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize("history", HISTORIES)
async def test_a_replay_is_what_live_followers_were_shown(server: LiveServer, history: str) -> None:
    mode, script = HISTORIES[history]
    configuration = AVOIDING if "moderation" in history else None
    client = server.client(await server.new_key(mode, configuration=configuration))
    message = await begin(client, f"/script {script}")
    message_id = message["message_id"]
    live = [asyncio.create_task(follow(client, message_id)) for _ in range(3)]
    if history == "a stop":
        await first_text(client, message_id)
        await client.post(f"/v1/chat-messages/{message['task_id']}/stop", json={"user": "ada"})

    shown = set(await asyncio.wait_for(asyncio.gather(*live), DEADLINE))
    replay = await follow(client, message_id)

    assert shown == {replay}
    assert len(events_of(replay)) >= (1 if "nothing" in history else 2)
    blocks = frames_of(replay)
    for number, block in enumerate(blocks):
        if block.startswith("id: "):
            rest = "".join(f"{later}\n\n" for later in blocks[number + 1 :])
            assert await follow(client, message_id, block[4:]) == rest


@pytest.mark.parametrize("history", [one for one in HISTORIES if "files" not in one and one != "a stop"])
async def test_ids_on_a_dify_stream_are_those_of_the_messages_stream(server: LiveServer, history: str) -> None:
    """Files aside, whose links are signed there."""
    mode, script = HISTORIES[history]
    configuration = AVOIDING if "moderation" in history else None
    client = server.client(await server.new_key(mode, configuration=configuration))
    body = chat_body(f"/script {script}", response_mode="streaming")
    sent = await client.post("/v1/chat-messages", json=body, headers={"X-Stream-Ids": "1"})
    assert sent.text == await follow(client, events_of(sent.text)[0]["message_id"])


@ON_SQLITE
async def test_many_followers_of_a_running_message_are_shown_the_same(server: LiveServer) -> None:
    key = await server.new_key()
    chat = server.client(key)
    message_id = (await begin(chat, "/script tokens=30 interval_ms=40"))["message_id"]
    clients = await asyncio.gather(*(connected(server, key, message_id) for _ in range(MANY)))
    try:
        texts = await asyncio.gather(*(all_of(client) for client in clients))
    finally:
        for client in clients:
            client.close()
    assert set(texts) == {await follow(chat, message_id)}
    assert answer_of(events_of(texts[0])) == "".join(f"t{number} " for number in range(30))


def say_more(staged: Any) -> None:
    for _ in range(AT_ONCE):
        staged.aggregate.append_chunk(1, PIECE)


@ON_SQLITE
async def test_who_does_not_read_holds_up_nobody_and_holds_nothing(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    followers: list[Follower] = []

    def noted(following: Following, message_id: UUID, original: Any = Following.follow) -> Follower:
        followers.append(original(following, message_id))
        return followers[-1]

    async with serve() as server:
        key = await server.new_key()
        chat = server.client(key)
        message_id = (await begin(chat, "/script tokens=2 interval_ms=3600000"))["message_id"]
        await first_text(chat, message_id)
        monkeypatch.setattr(Following, "follow", noted)
        slow = await connected(server, key, message_id)
        with contextlib.closing(slow):
            await until(_holds(lambda: len(followers) == 1))
            ledger, tail = server.running.ledger, server.running.application.following._tail
            fast = asyncio.create_task(follow(chat, message_id))
            for _ in range(TIMES):
                await ledger.decide(Message, UUID(message_id), say_more, a_context())
                assert tail._held[UUID(message_id)].characters <= MAX_CHARACTERS + len(PIECE) + ENVELOPE
            ended = await ledger.decide(
                Message, UUID(message_id), lambda staged: staged.aggregate.complete(1, Usage(), "stop", ""), a_context()
            )
            whole = await asyncio.wait_for(fast, DEADLINE)
            # The fast one is through; the slow one has its place, and little of what is to come.
            assert followers[0].version < ended[-1].version
            assert await all_of(slow) == whole
        assert answer_of(events_of(whole)) == "t0 " + PIECE * TIMES * AT_ONCE


def _holds(condition: Any) -> Any:
    async def holds() -> bool:
        return bool(condition())

    return holds


async def test_a_page_off_the_ledger_is_bounded(server: LiveServer) -> None:
    """Whoever is behind, or begins anew, holds no more than a page of a long answer."""
    chat = await server.new_client()
    message_id = UUID((await begin(chat, "/script tokens=2 interval_ms=3600000"))["message_id"])
    await first_text(chat, str(message_id))

    def go_on(staged: Any) -> None:
        for _ in range(2 * EVENTS_AT_ONCE):
            staged.aggregate.append_chunk(1, "x")
        staged.aggregate.complete(1, Usage(), "stop", "")

    await server.running.ledger.decide(Message, message_id, go_on, a_context())
    with server.running.application.following.follow(message_id) as follower:
        batches = [batch async for batch in follower.batches()]
    assert max(map(len, batches)) == EVENTS_AT_ONCE
    versions = [envelope.version for batch in batches for envelope in batch]
    assert versions == list(range(1, len(versions) + 1))
    assert len(versions) > 2 * EVENTS_AT_ONCE


async def test_another_attempt_takes_the_place_of_a_dead_workers_words(serve) -> None:
    async with serve(lease=0.5, heartbeat=0.1) as server:
        chat = await server.new_client()
        message = await begin(chat, "/script tokens=12 interval_ms=30 vary_by_attempt=true")
        message_id, conversation = message["message_id"], message["conversation_id"]
        live = [asyncio.create_task(follow(chat, message_id)) for _ in range(2)]
        await first_text(chat, message_id)
        # Another worker takes it, and dies: the living one is fenced out, and takes it up again after the lease.
        await server.running.ledger.decide(
            Message, UUID(message_id), lambda staged: staged.aggregate.start_attempt("another"), a_context()
        )
        texts = set(await asyncio.wait_for(asyncio.gather(*live), DEADLINE))
        assert texts == {await follow(chat, message_id)}
        events = events_of(texts.pop())
        shown = [answer_of(events[: number + 1]) for number in range(len(events))]
        replaced = [event["event"] for event in events].index("message_replace")
        attempt = events[replaced]["answer"].partition("t")[0]
        assert all(text.startswith("a1t0 ") and "a2" not in text for text in shown[:replaced])
        whole = "".join(f"{attempt}t{number} " for number in range(12))
        assert all(text and whole.startswith(text) for text in shown[replaced:])
        assert shown[-1] == whole
        async with chat.stream("GET", f"/v1/conversations/{conversation}/stream") as response:
            assert events_of(await anext(response.aiter_text()))[: len(events)] == events


@ON_SQLITE
async def test_erased_while_it_is_followed(serve) -> None:
    """The key is what opens it: without one the stream closes, and nobody begins another."""
    async with serve() as server:
        chat = await server.new_client()
        message = await begin(chat, "/script tokens=2 interval_ms=3600000")
        message_id = UUID(message["message_id"])
        paths = [f"/v1/messages/{message_id}/stream", f"/v1/conversations/{message['conversation_id']}/stream"]
        await first_text(chat, str(message_id))
        begun = await server.running.ledger.first(message_id)
        async with chat.stream("GET", paths[1]) as response:
            chunks = response.aiter_text()
            text = await anext(chunks)
            keyring = server.running.ledger.keyring
            await server.running.writer.run_alone(lambda: keyring.destroy([begun.key_id]))
            async with asyncio.timeout(DEADLINE):
                text += "".join([chunk async for chunk in chunks])
        assert [event["event"] for event in events_of(text)] == ["message"]
        for path in paths:
            refused = await chat.get(path)
            assert (refused.status_code, refused.json()["code"]) == (410, "erased")
