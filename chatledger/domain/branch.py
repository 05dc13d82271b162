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
    """

    message_id: UUID
    parent_id: UUID | None
    position: int


Older = Callable[[UUID, int], Sequence[Link]]
"""Reads a part of a conversation, newest first. It begins with the message of that id; the nil id names the newest one
before that position. Nothing, where there is no such message."""


def branch(parent_id: UUID | None, before: int, read: Older, longest: int) -> Iterator[Link]:
    """The ancestors of a message, newest first: at most so many, in about as few readings as they lie close together.

    Nothing is read before it is asked for.

    Args:
        parent_id: the message's own parent.
        before: the position that a nil parent comes before.
        read: gives the messages.
        longest: how many ancestors at most.
    """
    found = 0
    while parent_id is not None:
        page = read(parent_id, before)
        for link in page:
            if found == longest:
                return
            if parent_id in {NIL_UUID, link.message_id}:
                yield link
                found += 1
                parent_id, before = link.parent_id, link.position
        if not page:
            return
