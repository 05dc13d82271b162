"""``kill -9`` of the server in the middle of its streams, and a new one at once: until followers have new text."""

import asyncio
import statistics
import time

import msgspec

from benchmarks.figure import Figure, at_most, spread
from benchmarks.ledgers import create_app, run
from benchmarks.servers import Server, serve
from benchmarks.stores import Options, empty_store
from benchmarks.wire import Connection, send_message, until_text
from chatledger.settings import Settings

NAME = "take-over after kill -9"

SCRIPT = {"tokens": 400, "interval_ms": 20, "vary_by_attempt": True}
BEYOND_LEASE = 1.0


class _Follower(msgspec.Struct):
    """What a client knows when its connection breaks."""

    message_id: str
    last_id: str


class _TakeOver(msgspec.Struct):
    """Seconds from the kill: until the new server is ready, and until the last of the followers has new text."""

    ready: float
    text: float


def measure(options: Options) -> list[Figure]:
    """Each time in a store of its own; the new server starts at once, the followers resume when it is ready."""
    streams = options.choose(full=8, quick=8, tiny=2)
    found = [_take_over(options, streams) for _ in range(options.choose(full=7, quick=2, tiny=1))]
    texts, starts = [each.text for each in found], [each.ready for each in found]
    after = [each.text - each.ready for each in found]
    bound = Settings.model_fields["lease"].default + BEYOND_LEASE
    return [
        Figure(
            name=f"{NAME}, last of {streams} followers to have new text",
            measured=f"{spread(texts, '.2f')} s, of which after the start {spread(after, '.2f')}",
            floor=f"the start: {spread(starts, '.2f')} s",
            ratio=statistics.median(each.text / each.ready for each in found),
            less_is_better=True,
            goals=[at_most(max(texts), bound, " s")],
            detail={"seconds": texts, "start": starts, "after_start": after},
        )
    ]


def _take_over(options: Options, streams: int) -> _TakeOver:
    with empty_store(options) as store:
        api_key = run(lambda: create_app(store, SCRIPT))
        with serve(store) as killed:
            killed.api_key = api_key
            followers, killed_at = run(lambda: _until_killed(killed, streams))
        with serve(store) as server:
            server.api_key = api_key
            ready_at = time.perf_counter()
            run(lambda: _resume_all(server, followers))
            resumed_at = time.perf_counter()
            server.kill()  # it would wait for the messages to end
            return _TakeOver(ready_at - killed_at, resumed_at - killed_at)


async def _until_killed(server: Server, streams: int) -> tuple[list[_Follower], float]:
    all_have_text = asyncio.Barrier(streams + 1)

    async def follow(user: str) -> _Follower:
        stream = await send_message(server, user, x_stream_ids="1")
        events = stream.events()
        message_id = (await until_text(events))["message_id"]
        await all_have_text.wait()
        async for _ in events:
            pass
        stream.close()
        return _Follower(message_id, stream.last_id)

    following = [asyncio.create_task(follow(f"user {number}")) for number in range(streams)]
    await asyncio.wait([asyncio.create_task(all_have_text.wait()), *following], return_when=asyncio.FIRST_COMPLETED)
    killed_at = time.perf_counter()
    server.kill()
    return await asyncio.gather(*following), killed_at


async def _resume_all(server: Server, followers: list[_Follower]) -> None:
    await asyncio.gather(*(_resume(server, follower) for follower in followers))


async def _resume(server: Server, follower: _Follower) -> None:
    path = f"/v1/messages/{follower.message_id}/stream"
    stream = await Connection.ask(server, "GET", path, last_event_id=follower.last_id)
    event = await until_text(stream.events())
    stream.close()
    if not (event["event"] == "message_replace" and event["answer"].startswith("a2t0 ")):
        raise ValueError(f"not the text of a second attempt: {event}")
