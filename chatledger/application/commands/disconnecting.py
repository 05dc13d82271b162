"""Connections that wait for an answer, and what the going of the last one means for it."""

import logging
from uuid import UUID

from chatledger.application.caller import Caller, Reader
from chatledger.application.commands.stopping import Stopping
from chatledger.application.fault_report import describe
from chatledger.application.ledger.envelope import Envelope
from chatledger.domain.events import MessageCreated

log = logging.getLogger(__name__)


class Disconnecting:
    """The use case of a client that goes away.

    An answer whose message was sent with ``on_disconnect`` of ``stop`` is wanted as long as somebody is connected for
    it: it is stopped when the last one goes, if somebody who sent it was among them. Who merely follows it, and can be
    back at any time, keeps it going for those. Whoever was cut off from here did not go, and may come back: after that
    no other one who was connected beside them is the last.
    """

    def __init__(self, stopping: Stopping) -> None:
        self._stopping = stopping
        self._audiences: dict[UUID, _Audience] = {}

    def connect(self, created: Envelope) -> "Connection":
        """The connection of whoever sent the message that this event began, or sent it again, and waits for its answer.

        Whoever has it ends or loses it, once.
        """
        return self._connection(created, has_sent=True)

    def connect_follower(self, created: Envelope, reader: Reader) -> "Connection":
        """The connection of whoever only follows it. An operator's means nothing: the answer is none of theirs."""
        return self._connection(created, has_sent=False) if isinstance(reader, Caller) else Connection(self, None)

    def _connection(self, created: Envelope, *, has_sent: bool) -> "Connection":
        is_wanted_so = isinstance(created.body, MessageCreated) and created.body.on_disconnect == "stop"
        return Connection(self, created.stream_id if is_wanted_so else None, has_sent=has_sent)

    def enter(self, message_id: UUID, *, has_sent: bool) -> None:
        """One more is connected."""
        audience = self._audiences.setdefault(message_id, _Audience())
        audience.connected += 1
        audience.has_sender = audience.has_sender or has_sent

    def leave(self, message_id: UUID, *, has_gone: bool) -> bool:
        """One is connected no longer. Whether that was the last one of those who may stop it, and have all gone."""
        audience = self._audiences[message_id]
        audience.connected -= 1
        audience.is_cut_off = audience.is_cut_off or not has_gone
        if audience.connected:
            return False
        del self._audiences[message_id]
        return audience.has_sender and not audience.is_cut_off

    async def stop(self, message_id: UUID) -> None:
        """Ask for the end of an answer that nobody waits for any more."""
        try:
            await self._stopping.stop_for("disconnect", message_id)
        except Exception as error:  # noqa: BLE001 - there is nobody to tell
            log.warning("message %s goes on though nobody waits for it: %s", message_id, describe(error))


class _Audience:
    __slots__ = ("connected", "has_sender", "is_cut_off")

    def __init__(self) -> None:
        self.connected = 0
        self.has_sender = False
        self.is_cut_off = False


class Connection:
    """One client's wait for an answer."""

    __slots__ = ("_disconnecting", "_message_id")

    def __init__(self, disconnecting: Disconnecting, message_id: UUID | None, *, has_sent: bool = False) -> None:
        """Without a message it is one whose end means nothing."""
        self._disconnecting = disconnecting
        self._message_id = message_id
        if message_id is not None:
            disconnecting.enter(message_id, has_sent=has_sent)

    def end(self) -> None:
        """The wait is over: the answer has ended, or the client was cut off from here."""
        if self._message_id is not None:
            self._disconnecting.leave(self._message_id, has_gone=False)

    async def lose(self) -> None:
        """The client has gone away."""
        if self._message_id is not None and self._disconnecting.leave(self._message_id, has_gone=True):
            await self._disconnecting.stop(self._message_id)
