"""Whose a stream is: its first event says so, and no later one changes it."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec

from chatledger.application.ports.storage import Beginning, LedgerStore

REMEMBERED = 20_000


class Origin(msgspec.Struct, frozen=True):
    """Whose a stream is.

    Attributes:
        app_id: the app that its events are of; None where they are the server's own.
        order_id: what its events are ordered within: for a conversation and its messages, the conversation.
    """

    app_id: UUID | None
    order_id: UUID


class _First(msgspec.Struct, frozen=True):
    """What is read of a first event."""

    app_id: UUID | None = None
    conversation_id: UUID | None = None


_decode = msgspec.json.Decoder(_First).decode


class Origins:
    """Looks them up, many at once, and remembers the last of them."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self._known: OrderedDict[UUID, Origin] = OrderedDict()

    async def of(self, stream_ids: Iterable[UUID]) -> Mapping[UUID, Origin]:
        """The origin of each of these streams, which are on the ledger.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        wanted = set(stream_ids)
        found = {stream_id: self._known[stream_id] for stream_id in wanted & self._known.keys()}
        if missing := wanted - found.keys():
            beginnings = await self._store.beginnings(missing)
            new = {stream_id: _origin(stream_id, beginning) for stream_id, beginning in beginnings.items()}
            self._known |= new
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            found |= new
        return found


def _origin(stream_id: UUID, beginning: Beginning) -> Origin:
    try:
        first = _decode(beginning.public)
    except msgspec.MsgspecError:
        # It cannot be read, and so is nobody's but the operators': it must not hide the streams beside it.
        first = _First()
    app_id = stream_id if beginning.category == "app" else first.app_id
    return Origin(app_id, first.conversation_id or stream_id)
