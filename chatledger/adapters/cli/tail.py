"""``chatledger tail``: the events of the ledger as they land, beside a server."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from chatledger.adapters.cli.console import complain, escaped, is_hidden
from chatledger.application.fault_report import describe
from chatledger.settings import Settings

if TYPE_CHECKING:
    from chatledger.application.ledger.envelope import Fact
    from chatledger.bootstrap import Reading

SECONDS_BETWEEN_LOOKS = 0.25


class WantedTail(msgspec.Struct, frozen=True, kw_only=True):
    """Which events, and how they are shown.

    Attributes:
        after: the position after which they are; None for the ledger's end.
        app_id: those of this app.
        with_content: whether what people wrote and were answered is shown too.
    """

    after: int | None = None
    app_id: UUID | None = None
    with_content: bool = False
    as_json: bool = False


def tail(settings: Settings, wanted: WantedTail) -> int:
    """Print events until somebody ends it."""
    try:
        asyncio.run(_tail(settings, wanted))
    except BrokenPipeError:
        # Whoever read has gone. Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


async def _tail(settings: Settings, wanted: WantedTail) -> None:
    from chatledger.application.errors import NotFoundError  # noqa: PLC0415
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    async with open_for_reading(settings) as reading:
        if wanted.app_id is not None and await reading.views.app(wanted.app_id) is None:
            raise NotFoundError("app")
        source = await asyncio.to_thread(reading.exported.incarnation)
        async for fact, app_id in _facts(reading, wanted):
            print(_line(source, fact, app_id, wanted), flush=True)


async def _facts(reading: "Reading", wanted: WantedTail) -> "AsyncIterator[tuple[Fact, UUID | None]]":
    """Events with the app that each is of; without an end."""
    position = await reading.log.head() if wanted.after is None else wanted.after
    while True:
        page = await reading.log.page(position)
        origins = await reading.origins.of(page.stream_ids)
        for delivery in page.deliveries:
            app_id = origins[delivery.stream_id].app_id
            if isinstance(delivery.content, Exception):
                complain(f"the event at position {delivery.position} cannot be read: {describe(delivery.content)}")
            elif wanted.app_id in {None, app_id}:
                yield delivery.content, app_id
        position = page.end
        if not page.is_full:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)


def _line(incarnation: UUID, fact: "Fact", app_id: UUID | None, wanted: WantedTail) -> str:
    from chatledger.application.audit.export_lines import source_of  # noqa: PLC0415
    from chatledger.application.cloud_events import cloud_event  # noqa: PLC0415

    data = _data(fact, with_content=wanted.with_content)
    event = cloud_event(source_of(incarnation), fact, app_id, data)
    if wanted.as_json:
        return escaped(msgspec.json.encode(event).decode())
    envelope, actor = fact.envelope, fact.context.actor
    shown = msgspec.json.encode(data).decode()
    columns = (
        f"{envelope.position:>9}",
        event.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        f"{envelope.category} {envelope.stream_id} v{envelope.version}",
        event.type.removeprefix("chatledger."),
        f"by {actor.kind} {actor.id}".rstrip(),
        "erased" if envelope.is_erased else "",
        "".join(" " if is_hidden(character) else character for character in shown),
    )
    return "  ".join(column for column in columns if column)


def _data(fact: "Fact", *, with_content: bool) -> Any:
    from chatledger.application.caller import Auditor  # noqa: PLC0415
    from chatledger.application.disclosure import event_data  # noqa: PLC0415
    from chatledger.domain.visibility import visibilities  # noqa: PLC0415

    body = fact.envelope.body
    if with_content:
        host = Auditor(operator_id=None, correlation_id=fact.context.correlation_id)
        return event_data(host, fact.envelope)
    public = (name for name, visibility in visibilities(type(body)).items() if visibility == "public")
    return {name: getattr(body, name) for name in public}
