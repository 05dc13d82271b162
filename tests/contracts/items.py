from collections.abc import AsyncGenerator
from uuid import UUID

from chatledger.application.ports.queue import Delivery, QueueItem, TaskQueue
from chatledger.application.system_clock import new_id


def an_item(message_id: UUID | None = None, **changed: object) -> QueueItem:
    plain = {
        "task_id": new_id(),
        "message_id": message_id or new_id(),
        "conversation_id": new_id(),
        "mode": "chat",
        "event": "MessageCreated",
        "source": "pipeline",
    }
    return QueueItem(**(plain | changed))


async def listen(queue: TaskQueue) -> AsyncGenerator[Delivery, None]:
    """Take work, one delivery at a time, until the queue gives no more."""
    while taken := await queue.take(1):
        yield taken[0]
