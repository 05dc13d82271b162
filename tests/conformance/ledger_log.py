"""What stands on a ledger, in a form in which two of them can be compared: without the accidents of a run.

Ids and keyed hashes become numbers in order of their appearance, times and durations words; how an answer was cut into
chunks is a matter of time too, so the chunks of an attempt that follow each other become one. All else has to be equal:
the streams and their order, the events of each, both their parts, the key that seals them, who did it, and why.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from chatledger.application.context import Context
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.storage import EventRow
from chatledger.bootstrap import open_for_reading
from chatledger.domain.events import REGISTRY, AnswerChunkAppended, SiteCodeIssued
from chatledger.settings import Settings

OPAQUE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}")
TIMES = {"not_before", "latency", "time_to_first_token", "time_to_generate"}
WORKER = re.compile(r"worker-1:[0-9a-f]{8}")


async def log_of(settings: dict[str, Any], after: int) -> tuple[list[str], int]:
    """The events after a position, one line each, stream by stream; and the last position."""
    async with open_for_reading(Settings(**settings)) as reading:
        rows: Sequence[EventRow] = await reading.reader.run(lambda transaction: transaction.read_log(after, 100_000))
        envelopes = await asyncio.to_thread(reading.codec.decode_all, rows)
    return list(_lines(envelopes, rows)), rows[-1].position if rows else after


def _lines(envelopes: Sequence[Envelope], rows: Sequence[EventRow]) -> Iterator[str]:
    contexts = {row.position: msgspec.json.decode(row.context, type=Context) for row in rows if row.context is not None}
    streams: dict[Any, list[tuple[Envelope, Any]]] = {}
    places: dict[int, str] = {}
    rated: dict[tuple[Any, int], int] = {}
    for envelope in envelopes:
        stream = streams.setdefault(envelope.stream_id, [])
        body = envelope.body
        if isinstance(body, AnswerChunkAppended) and stream and _continues(stream[-1][1], body):
            stream[-1] = stream[-1][0], AnswerChunkAppended(body.attempt, stream[-1][1].text + body.text)
        else:
            stream.append((envelope, body))
        places[envelope.position] = f"event {len(stream)} of {envelope.stream_id}"
        rated[envelope.stream_id, envelope.version] = len(stream)
    labels = Labels()
    for stream_id, stream in streams.items():
        for number, (envelope, body) in enumerate(stream, 1):
            fields = msgspec.to_builtins(body)
            if "context_cut" in fields:
                fields["context_cut"] = places.get(fields["context_cut"], "before all this")
            if isinstance(body, SiteCodeIssued):
                fields["code"] = "<code>"
            if "rated_version" in fields:
                fields["rated_version"] = rated[stream_id, fields["rated_version"]]
            event_type = REGISTRY.of(type(body))
            line = {
                "stream": f"{envelope.category} {stream_id}",
                "number": number,
                "event": f"{event_type.name} {event_type.schema}",
                "key": str(envelope.key_id),
                "body": fields,
                "context": msgspec.to_builtins(contexts[envelope.context_position]),
            }
            yield json.dumps(labels.put_into(line), ensure_ascii=False)


def _continues(before: Any, body: AnswerChunkAppended) -> bool:
    return isinstance(before, AnswerChunkAppended) and before.attempt == body.attempt


class Labels:
    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def put_into(self, value: Any) -> Any:
        match value:
            case dict():
                return {
                    name: "a time" if name in TIMES and inner is not None else self.put_into(inner)
                    for name, inner in value.items()
                }
            case list() | tuple():
                return [self.put_into(inner) for inner in value]
            case str():
                return WORKER.sub("a worker", OPAQUE.sub(self._label, value))
            case _:
                return value

    def _label(self, found: re.Match[str]) -> str:
        return self._known.setdefault(found[0], f"#{len(self._known) + 1}")
