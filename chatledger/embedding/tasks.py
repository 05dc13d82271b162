"""Tasks: the generations of answers."""

from uuid import UUID

from chatledger.application.accepting import accept_id
from chatledger.application.queries.history import Task
from chatledger.embedding.access import Access
from chatledger.embedding.values import User


class Tasks:
    """``ledger.tasks``."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def get(self, task_id: UUID, *, app: UUID | None = None, user: User | None = None) -> Task:
        """How far a generation has come.

        Raises:
            NotFoundError: the task does not exist, or is not the app's or the user's.
        """
        with self._access.use() as application:
            reader = await self._access.reader(app, user)
            return await application.history.task(reader, accept_id("task_id", task_id))

    async def stop(self, app: UUID, task_id: UUID, *, user: User | None = None) -> None:
        """Ask for the end of a generation. What it has said stays; one that has ended is left alone.

        Raises:
            NotFoundError: the task does not exist, or is not the user's.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user)
            await application.stopping.stop(caller, accept_id("task_id", task_id))
