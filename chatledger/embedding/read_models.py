"""The read models: the tables that everything is shown from."""

from collections.abc import Callable

from chatledger.application.commands.rebuilding import RebuildReport, RebuildStatus
from chatledger.embedding.access import Access


class ReadModels:
    """``ledger.read_models``."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def rebuild(self, progress: Callable[[int, int], None] = lambda _done, _total: None) -> RebuildReport:
        """Make them anew from the ledger while everything goes on, and compare them with those whose place they take.

        A cancellation breaks it off and leaves the live ones as they were.

        Args:
            progress: told of the positions done and of the positions in all, in the event loop.

        Raises:
            RebuildRunningError: one is under way.
            StorageUnavailableError: the store is in trouble, or somebody has been reading them for too long in one
                transaction; nothing was changed.
        """
        with self._access.use() as application:
            return await application.rebuilding.rebuild(progress)

    def status(self) -> RebuildStatus:
        """How far the newest rebuild of this process has come."""
        with self._access.use() as application:
            return application.rebuilding.status
