"""Every call of `dify-client-python`, which parses every answer and event into typed models, waiting and in asyncio."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from dify_client import AsyncClient, Client, models
from dify_client.errors import DifyAPIError, DifyNotChatApp, DifyResourceNotFound
from recording import HOUSE, Calls

calls = Calls()
STREAMING, BLOCKING = models.ResponseMode.STREAMING, models.ResponseMode.BLOCKING
NOWHERE = "00000000-0000-4000-8000-000000000000"


@contextmanager
def refused(kind: type[DifyAPIError], status: int, code: str) -> Iterator[None]:
    with pytest.raises(kind) as caught:
        yield
    assert (caught.value.status, caught.value.code) == (status, code)


class Both:
    """One of the two clients, called in the same way."""

    def __init__(self, kind: type[Any], key: str) -> None:
        self.kind = kind
        self.client = kind(api_key=HOUSE["keys"][key], api_base=HOUSE["base_url"])
        self.prefix = "a" if kind is AsyncClient else ""

    def name(self, call: str) -> str:
        return f"{self.kind.__name__}.{self.prefix}{call}"

    async def __call__(self, call: str, *given: Any) -> Any:
        result = getattr(self.client, self.prefix + call)(*given)
        return await result if inspect.isawaitable(result) else result

    async def events(self, call: str, *given: Any) -> list[Any]:
        result = await self(call, *given)
        return [event async for event in result] if isinstance(result, AsyncIterator) else list(result)


def text_of(events: list[Any]) -> str:
    return "".join(event.answer for event in events if event.event in ("message", "agent_message"))


def chat_request(mode: models.ResponseMode, query: str = "hello", **more: Any) -> models.ChatRequest:
    return models.ChatRequest(query=query, inputs={}, response_mode=mode, user="ada", **more)


def completion_request(mode: models.ResponseMode) -> models.CompletionRequest:
    return models.CompletionRequest(inputs={}, response_mode=mode, user="ada")


async def every_call(kind: type[Any]) -> None:
    chat, completion, agent = Both(kind, "chat"), Both(kind, "completion"), Both(kind, "agent-chat")
    name = chat.name
    answer: Any = None
    with calls(name("chat_messages"), "blocking"):
        answer = await chat("chat_messages", chat_request(BLOCKING))
        assert (answer.answer, answer.mode) == (HOUSE["answer"], models.Mode.CHAT)
        assert answer.metadata.usage.total_tokens > 0

    with calls(name("chat_messages"), "streaming"):
        events = await chat.events("chat_messages", chat_request(STREAMING))
        assert text_of(events) == HOUSE["answer"]
        assert {type(event) for event in events[:-1]} == {models.MessageStreamResponse}
        assert isinstance(events[-1], models.MessageEndStreamResponse)

    with calls(name("chat_messages"), "streaming, of an agent"):
        events = await agent.events("chat_messages", chat_request(STREAMING))
        assert text_of(events) == HOUSE["answer"]
        assert any(isinstance(event, models.AgentMessageStreamResponse) for event in events)

    acting = Both(kind, "acting")
    with calls(name("chat_messages"), "streaming, of an agent whose tools make files"):
        events = await acting.events("chat_messages", chat_request(STREAMING))
        thoughts = [event for event in events if isinstance(event, models.AgentThoughtStreamResponse)]
        assert [thought.position for thought in thoughts if thought.observation] == [1]
        (file,) = [event for event in events if isinstance(event, models.MessageFileStreamResponse)]
        assert (file.belongs_to, file.id) == ("assistant", thoughts[-3].message_files[0])

    citing = Both(kind, "citing")
    with calls(name("chat_messages"), "blocking, with the passages that the answer rests on"):
        cited = await citing("chat_messages", chat_request(BLOCKING, HOUSE["covered"]))
        assert cited.metadata.retriever_resources[0].content

    with calls(name("chat_messages"), "streaming, with the passages that the answer rests on"):
        events = await citing.events("chat_messages", chat_request(STREAMING, HOUSE["covered"]))
        assert events[-1].metadata.retriever_resources[0].content

    with calls(name("chat_messages"), "streaming, with a provider that fails"):
        # The client raises for an event that SSE itself calls an error; Dify's errors are data.
        events = await chat.events("chat_messages", chat_request(STREAMING, HOUSE["failing"]))
        assert (events[-1].event, events[-1].code) == ("error", "completion_request_error")

    missing = "in a conversation that there is not"
    with calls(name("chat_messages"), missing), refused(DifyResourceNotFound, 404, "not_found"):
        await chat("chat_messages", chat_request(BLOCKING, conversation_id=NOWHERE))

    with calls(name("chat_messages"), "of a completion app"), refused(DifyNotChatApp, 400, "not_chat_app"):
        await completion("chat_messages", chat_request(BLOCKING))

    with calls(name("stop_chat_messages")):
        events = await stopped(chat, "chat_messages", chat_request(STREAMING, HOUSE["endless"]))
        assert isinstance(events[-1], models.MessageEndStreamResponse)

    with calls(name("suggest_messages")):
        suggested = await chat("suggest_messages", answer.message_id, models.ChatSuggestRequest(user="ada"))
        assert suggested.result == "success"

    for rating in (models.Rating.LIKE, models.Rating.DISLIKE, None):
        with calls(name("feedback_messages"), rating or "withdrawn"):
            request = models.FeedbackRequest(rating=rating, user="ada", content=rating and "because")
            assert (await chat("feedback_messages", answer.message_id, request)).result == "success"

    uploaded: Any = None
    with calls(name("upload_files")):
        file = ("dot.png", bytes.fromhex(HOUSE["image"]), "image/png")
        uploaded = await chat("upload_files", file, models.UploadFileRequest(user="ada"))
        assert uploaded.mime_type == "image/png"

    with calls(name("chat_messages"), "streaming, with a file"):
        given = models.File(type="image", transfer_method="local_file", upload_file_id=uploaded.id)
        assert text_of(await chat.events("chat_messages", chat_request(STREAMING, files=[given]))) == HOUSE["answer"]

    with calls(name("audio_to_text")):
        sound = ("speech.wav", bytes.fromhex(HOUSE["sound"]), "audio/wav")
        assert (await chat("audio_to_text", sound, models.AudioToTextRequest(user="ada"))).text == HOUSE["heard"]

    with calls(name("text_to_audio")):
        audio = await chat("text_to_audio", models.TextToAudioRequest(text="hello", user="ada"))
        assert audio == bytes.fromhex(HOUSE["sound"])

    with calls(name("completion_messages"), "blocking"):
        whole = await completion("completion_messages", completion_request(BLOCKING))
        assert (whole.answer, whole.mode) == (HOUSE["answer"], models.Mode.COMPLETION)

    with calls(name("completion_messages"), "streaming"):
        events = await completion.events("completion_messages", completion_request(STREAMING))
        assert text_of(events) == HOUSE["answer"]

    with calls(name("stop_completion_messages")):
        request = models.StopRequest(user="ada")
        assert (await completion("stop_completion_messages", NOWHERE, request)).result == "success"

    for mode in (BLOCKING, STREAMING):
        with calls(name("run_workflows"), mode, absent="workflows"), refused(DifyResourceNotFound, 404, "not_found"):
            await chat.events("run_workflows", models.WorkflowsRunRequest(inputs={}, response_mode=mode, user="ada"))

    with calls(name("stop_workflows"), absent="workflows"), refused(DifyResourceNotFound, 404, "not_found"):
        await chat("stop_workflows", NOWHERE, models.StopRequest(user="ada"))

    with calls(name("request"), "any route"):
        assert (await chat("request", f"{HOUSE['base_url']}/info", "GET")).json()["mode"] == "chat"

    with calls(name("request_stream"), "any route"):
        body = {"inputs": {}, "query": "hello", "user": "ada", "response_mode": "streaming"}
        stream = getattr(chat.client, f"{chat.prefix}request_stream")(
            f"{HOUSE['base_url']}/chat-messages", "POST", json=body
        )
        sent = [event async for event in stream] if isinstance(stream, AsyncIterator) else list(stream)
        assert sent[-1].json()["event"] == "message_end"


async def stopped(client: Both, call: str, request: Any) -> list[Any]:
    """The events of an answer without an end that is stopped at its first piece."""
    stream = await client(call, request)
    events = []
    if isinstance(stream, AsyncIterator):
        async for event in stream:
            await stop_at_first(client, call, event, events)
    else:
        for event in stream:
            await stop_at_first(client, call, event, events)
    return events


async def stop_at_first(client: Both, call: str, event: Any, events: list[Any]) -> None:
    if not events:
        assert (await client(f"stop_{call}", event.task_id, models.StopRequest(user="ada"))).result == "success"
    events.append(event)


async def main() -> None:
    await every_call(Client)
    await every_call(AsyncClient)
    calls.end(Client, AsyncClient)


asyncio.run(main())
