"""How much of what was said before fits into a prompt."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

BYTES_PER_TOKEN = 3
"""Of UTF-8. English has about four to a token, Chinese about three: a text is seldom longer than estimated."""

TOKENS_PER_TEXT = 4
"""What stands around a text in a prompt: whose it is, and where it ends."""


def estimated_tokens(text: str) -> int:
    """About how many tokens a text takes in a prompt: no model's own count, but the same everywhere and for ever."""
    return TOKENS_PER_TEXT + -(-len(text.encode()) // BYTES_PER_TOKEN)


def end_within(limit: int, text: str) -> str:
    """As much of the end of a text as so many tokens are estimated to hold."""
    encoded = text.encode()
    kept = max(0, limit - TOKENS_PER_TEXT) * BYTES_PER_TOKEN
    return encoded[max(0, len(encoded) - kept) :].decode(errors="ignore")


def within(limit: int, newest_first: Iterable[T], tokens: Callable[[T], int]) -> Iterator[T]:
    """The newest of some things, as many in a row as the limit holds by their tokens; 0 is no limit."""
    left = limit
    for thing in newest_first:
        if limit:
            left -= tokens(thing)
            if left < 0:
                return
        yield thing
