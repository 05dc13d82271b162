"""From the committed events of a conversation to frames: each message's as in a stream of its own."""

from collections.abc import Sequence
from uuid import UUID

from chatledger.adapters.http.files import Link
from chatledger.adapters.http.rendering import Rendering
from chatledger.application.ledger.envelope import Envelope


class ConversationRendering:
    """One follower's view of one conversation. It has no end."""

    has_ended = False
    gives_ids = True

    def __init__(self, *, shows_resources: bool, link: Link, after: int) -> None:
        """``after`` is the position up to which events count, but are not shown again."""
        self._shows_resources = shows_resources
        self._link = link
        self._after = after
        self._under_way: dict[UUID, Rendering] = {}

    def render(self, envelopes: Sequence[Envelope]) -> bytes:
        """The frames of these events, in a row with those before, each event's last one followed by its position."""
        frames: list[bytes] = []
        for envelope in envelopes:
            message_id = envelope.stream_id
            rendering = self._under_way.get(message_id)
            if rendering is None:
                rendering = Rendering(message_id, envelope, shows_resources=self._shows_resources, link=self._link)
                self._under_way[message_id] = rendering
            frame = rendering.frames_of(envelope)
            if frame and envelope.position > self._after:
                frames += (frame, b"id: %d\n\n" % envelope.position)
            if rendering.has_ended:
                del self._under_way[message_id]
        return b"".join(frames)
