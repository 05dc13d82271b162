"""What a newer release may have written."""

from uuid import UUID

from chatledger.application.ports.storage import EventRow
from chatledger.bootstrap import Running
from tests.persistence.stores import a_row


async def append_unknown(running: Running, stream_id: UUID) -> EventRow:
    """Append to a stream an event that this release cannot read."""
    last = (await running.store.stream(stream_id, list))[-1]

    def append() -> EventRow:
        with running.store.write() as transaction:
            head = transaction.head()
            place = {"category": last.category, "key_id": last.key_id, "recorded_at": head.recorded_at}
            row = a_row(head.position + 1, stream_id, last.version + 1, name="NotYetInvented", **place)
            transaction.append([row])
            return row

    return await running.writer.run_alone(append)
