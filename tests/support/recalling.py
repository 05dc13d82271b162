"""A generator that keeps what it was told had been said before."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from uuid import UUID

from chatledger.application.ports.generator import Exchange, Finish, GenerationRequest, Part, Text


class RecallingGenerator:
    """Asked ``word count milliseconds``, it says ``word0 word1 ...`` up to the count, at that pace.

    Attributes:
        heard: what it was told, at each attempt of each message.
    """

    name = "recalling"
    repeatable = True

    def __init__(self) -> None:
        self.heard: defaultdict[UUID, list[list[Exchange]]] = defaultdict(list)

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """There are none."""

    def settings_for(self, query: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """There are none."""
        return settings

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Part, None]:
        """Say it."""
        self.heard[request.message_id].append(list(await request.history()))
        word, count, pace = request.query.split()
        for number in range(int(count)):
            yield Text(f"{word}{number} ")
            await asyncio.sleep(int(pace) / 1000)
        yield Finish("stop")

    async def close(self) -> None:
        """Nothing is held."""
