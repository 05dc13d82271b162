"""Anthropic's streaming protocol, to be spoken by the server of fake_openai.py."""

import json
from collections.abc import Sequence

from tests.support.fake_openai import Event, Stream


def event(kind: str, **more: object) -> Event:
    return Event(json.dumps({"type": kind, **more}).encode(), name=kind)


def begins(prompt_tokens: int = 10) -> Event:
    usage = {"input_tokens": prompt_tokens, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "fake", "content": [], "usage": usage}
    return event("message_start", message={**message, "stop_reason": None, "stop_sequence": None})


def text_block(index: int, *pieces: str) -> list[Event]:
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return _block(index, {"type": "text", "text": ""}, deltas)


def tool_block(index: int, name: str, arguments: object) -> list[Event]:
    deltas = [{"type": "input_json_delta", "partial_json": json.dumps(arguments)}]
    return _block(index, {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}, deltas)


def ends(reason: str = "end_turn", completion_tokens: int = 5) -> list[Event]:
    usage = {"output_tokens": completion_tokens}
    return [
        event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage),
        event("message_stop"),
    ]


def calling(*calls: tuple[str, object], saying: Sequence[str] = ()) -> Stream:
    """A step of an agent: some text, then calls of tools by name and arguments."""
    text = text_block(0, *saying) if saying else []
    called = [tool_block(index, *call) for index, call in enumerate(calls, start=1 if saying else 0)]
    return Stream([begins(), *text, *(step for block in called for step in block), *ends("tool_use")])


def answer(*pieces: str) -> Stream:
    return Stream([begins(), *text_block(0, *pieces), *ends()])


def _block(index: int, block: object, deltas: Sequence[object]) -> list[Event]:
    return [
        event("content_block_start", index=index, content_block=block),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]
