"""Which earlier messages a message goes on from: the way from it to the root of its branch."""

from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import msgspec

from chatledger.domain.values import NIL_UUID


class Link(msgspec.Struct, frozen=True):
    """Where a message hangs.

    Attributes:
        parent_id: the message that it goes on from; the nil id stands for whatever came before in time, None begins a
            branch.
        position: its place in time.
        replayed_from: the failed message that it asks again for.
    """

    message_id: UUID
    parent_id: UUID | None
    position: int
    replayed_from: UUID | None = None


Older = Callable[[UUID, int], Sequence[Link]]
"""Reads a part of a conversation, newest first. It begins with the message of that id; the nil id names the newest one
before that position. Nothing, where there is no such message."""


def branch(parent_id: UUID | None, before: int, read: Older, longest: int) -> Iterator[Link]:
    """The ancestors of a message, newest first: at most so many, in about as few readings as they lie close together.

    Nothing is read before it is asked for. What came before in time is what people have said: a replay has only the
    place of its original in it, and only if nothing else had been said since. One of an older message stands beside.

    Args:
        parent_id: the message's own parent.
        before: the position that a nil parent comes before.
        read: gives the messages.
        longest: how many ancestors at most.
    """
    found = 0
    replays: list[Link] = []
    while parent_id is not None:
        page = read(parent_id, before)
        for link in page:
            if found == longest:
                return
            if parent_id == NIL_UUID and link.replayed_from is not None:
                replays.append(link)
                before = link.position
            elif parent_id in {NIL_UUID, link.message_id}:
                ancestor = _newest_replay(link, replays)
                yield ancestor
                found += 1
                parent_id, before = ancestor.parent_id, link.position
                replays.clear()
        if not page:
            return


def _newest_replay(original: Link, later: Sequence[Link]) -> Link:
    """The newest of these that was asked in its place, or in the place of one that was; itself, if there is none."""
    newest, replayed = original, {original.message_id}
    for link in reversed(later):
        if link.replayed_from in replayed:
            newest = link
            replayed.add(link.message_id)
    return newest
