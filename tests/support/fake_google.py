"""Google's streaming protocol, to be spoken by the server of fake_openai.py."""

import json

from tests.support.fake_openai import Event, Stream


def chunk(*parts: object, reason: str | None = None) -> Event:
    candidate = {"index": 0, "content": {"role": "model", "parts": list(parts)}}
    ended = {"finishReason": reason} if reason else {}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    return Event(json.dumps({"candidates": [candidate | ended], "usageMetadata": usage, "modelVersion": "m"}).encode())


def calling(name: str, arguments: object, *, saying: str) -> Stream:
    return Stream([chunk({"text": saying}), chunk({"functionCall": {"name": name, "args": arguments}}, reason="STOP")])


def answer(*pieces: str) -> Stream:
    *some, last = pieces
    return Stream([*(chunk({"text": piece}) for piece in some), chunk({"text": last}, reason="STOP")])
