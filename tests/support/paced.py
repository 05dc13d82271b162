"""A host's generator whose every word the test lets out, and that keeps count of how often it was asked."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from uuid import UUID

from chatledger import Finish, GenerationRequest, Part, Text

WORDS = 50


def words(count: int) -> str:
    return "".join(f"w{number} " for number in range(count))


class Paced:
    """Says fifty words to each question, and knows its messages by what they ask.

    Attributes:
        asked: how often it was asked for a part of an answer, the end included.
        messages: which message a question came with.
    """

    name = "paced"
    repeatable = True

    def __init__(self) -> None:
        self.asked: dict[str, int] = defaultdict(int)
        self.messages: dict[str, UUID] = {}
        self._places: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))

    def let(self, query: str, count: int) -> None:
        """Let out as many more words; one more than there are is the end."""
        for _ in range(count):
            self._places[query].release()

    def check_settings(self, settings: Mapping[str, Any]) -> None: ...

    def settings_for(self, query: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return settings

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Part, None]:
        query = request.query
        self.messages[query] = request.message_id
        for number in range(WORDS):
            await self._next(query)
            yield Text(f"w{number} ")
        await self._next(query)
        yield Finish("stop")

    async def _next(self, query: str) -> None:
        self.asked[query] += 1
        await self._places[query].acquire()

    async def close(self) -> None: ...
