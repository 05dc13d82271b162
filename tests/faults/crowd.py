"""Many clients at once."""

import asyncio
from collections.abc import Callable, Sequence

from tests.faults.clients import (
    PATIENCE,
    SECONDS,
    AsyncSender,
    BlockingSender,
    Client,
    Follower,
    Place,
    StreamSender,
    script_of,
)


async def _live(client: Client) -> None:
    await client.live()
    client.is_told.set()


class Crowd:
    """So many people who ask at once, each of them one question; some are followed by several, some wait or poll.

    Args:
        name: what tells its users from those of other crowds.
        streams: how many send by a stream.
        others: how many send blocking, and how many without waiting.
        followers: how many follow every fourth of the streams.
        seconds: how long an answer takes.

    Attributes:
        senders: those who ask.
        clients: they, and those who follow.
    """

    def __init__(
        self,
        name: str,
        place: Place,
        streams: int,
        *,
        others: int = 2,
        followers: int = 3,
        seconds: float = SECONDS,
    ) -> None:
        self.place, script = place, script_of(seconds)
        asking = [
            StreamSender(f"stream-{n}", f"{name} {n}", place, by_query=n % 2 == 1, script=script)
            for n in range(streams)
        ]
        blocking = [BlockingSender(f"blocking-{n}", f"patient {name} {n}", place, script) for n in range(others)]
        polling = [AsyncSender(f"async-{n}", f"curious {name} {n}", place, script) for n in range(others)]
        self._name = name
        self.senders: Sequence[Client] = [*asking, *blocking, *polling]
        self.clients: Sequence[Client] = [
            *self.senders,
            *(
                Follower(f"{sender.recording.client}-follower-{number}", sender, place, by_query=number % 2 == 0)
                for sender in asking[::4]
                for number in range(followers)
            ),
        ]
        self._living: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Let all of them ask."""
        self._living = [asyncio.create_task(_live(client)) for client in self.clients]

    async def ask(self, user: str, seconds: float) -> Client:
        """Let one more ask, until that one has the whole answer, or knows that nothing was ever asked."""
        name = f"{user}-{len(self.clients)}"
        asking = StreamSender(name, f"{name} {self._name}", self.place, script=script_of(seconds))
        self.senders, self.clients = [*self.senders, asking], [*self.clients, asking]
        await _live(asking)
        return asking

    async def first_text(self) -> None:
        """Until somebody sees a part of an answer."""
        await self._until(lambda: any(client.text for client in self.clients))

    def is_listening(self) -> bool:
        """Whether somebody has seen a part of an answer, and not its end."""
        return any(client.text and not client.is_ended for client in self.clients)

    def is_waiting(self) -> bool:
        """Whether somebody does not have the whole answer yet."""
        return not all(client.is_ended for client in self.senders)

    async def hung_up(self) -> None:
        """Until every connection that was begun at first has ended, in whatever way."""
        await self._until(lambda: all(client.recording.has_been_cut for client in self.senders))

    async def end(self, within: float = PATIENCE) -> None:
        """Until everybody has the whole answer, or knows that nothing was ever asked."""
        async with asyncio.timeout(within):
            await asyncio.gather(*self._living)

    async def leave(self) -> None:
        """Let nobody ask any longer."""
        for task in self._living:
            task.cancel()
        await asyncio.gather(*self._living, return_exceptions=True)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                for task in self._living:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.002)
