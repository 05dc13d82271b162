"""Events as CloudEvents 1.0 (cloudevents.io), in the JSON event format."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from chatledger.application.ledger.envelope import Fact, from_microseconds
from chatledger.application.ports.storage import EventRow
from chatledger.domain.events import REGISTRY

MEDIA_TYPE = "application/cloudevents+json"
BATCH_MEDIA_TYPE = "application/cloudevents-batch+json"

_PREFIX = "chatledger."
_DIGITS = 20


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event of the ledger.

    ``source`` names the ledger, and ``id`` the event in it. ``type`` is ``chatledger.`` and the event's stored name,
    ``subject`` the stream that it is of: a message, a conversation, an app, a person, a file. ``data`` has the event's
    own fields.

    Of the extensions, ``sequence`` is the position on the ledger, in digits that sort as text; ``correlationid``,
    ``causationid`` and ``traceparent`` are those of the extensions that the specification documents. ``erased`` is true
    where what the event held was erased, and absent elsewhere: then ``data`` has its public fields alone.
    ``unreadable`` is true where this server cannot read the event, and absent elsewhere: then there is no ``data``, and
    nothing is said of whose doing it was.
    """

    specversion: Literal["1.0"]
    id: UUID
    source: str
    type: str
    subject: UUID
    time: datetime
    datacontenttype: Literal["application/json"]
    data: Any = None
    sequence: str
    category: str
    streamversion: int
    schemaversion: int
    actorkind: str | None = None
    correlationid: UUID | None = None
    actorid: str | None = None
    causationid: UUID | None = None
    appid: UUID | None = None
    traceparent: str | None = None
    erased: bool = False
    unreadable: bool = False


def cloud_event(source: str, fact: Fact, app_id: UUID | None, data: Any) -> CloudEvent:
    """An event of this ledger.

    Args:
        source: what the ledger is called.
        fact: the event with its metadata.
        app_id: the app that it is of.
        data: what of its body is shown.
    """
    envelope, context = fact.envelope, fact.context
    event_type = REGISTRY.of(type(envelope.body))
    return CloudEvent(
        specversion="1.0",
        id=envelope.event_id,
        source=source,
        type=_PREFIX + event_type.name,
        subject=envelope.stream_id,
        time=from_microseconds(envelope.recorded_at),
        datacontenttype="application/json",
        data=data,
        sequence=f"{envelope.position:0{_DIGITS}d}",
        category=envelope.category,
        streamversion=envelope.version,
        schemaversion=event_type.schema,
        actorkind=context.actor.kind,
        correlationid=context.correlation_id,
        actorid=context.actor.id or None,
        causationid=context.causation_id,
        appid=app_id,
        traceparent=context.trace if _is_traceparent(context.trace) else None,
        erased=envelope.is_erased,
    )


def unreadable_event(source: str, row: EventRow, app_id: UUID | None) -> CloudEvent:
    """One of this ledger that cannot be read: what is on record beside its content."""
    return CloudEvent(
        specversion="1.0",
        id=row.event_id,
        source=source,
        type=_PREFIX + row.name,
        subject=row.stream_id,
        time=from_microseconds(row.recorded_at),
        datacontenttype="application/json",
        sequence=f"{row.position:0{_DIGITS}d}",
        category=row.category,
        streamversion=row.version,
        schemaversion=row.schema,
        appid=app_id,
        unreadable=True,
    )


def _is_traceparent(trace: str | None) -> bool:
    """Whether it has the form of W3C Trace Context, and is no trace id of a caller's own."""
    return trace is not None and [len(part) for part in trace.split("-")] == [2, 32, 16, 2]
