"""A store that is open for replays, and the generators that shadows are asked of. Nothing is written."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from chatledger.adapters.persistence.store import SqlLedgerReading
from chatledger.adapters.persistence.views import SqlViews
from chatledger.application.generation.prompts import Prompts
from chatledger.application.ports.generator import Generator
from chatledger.application.queries.file_contents import FileContents
from chatledger.application.replay.replays import Replays
from chatledger.application.replay.shadow import ShadowLimits, Shadows
from chatledger.application.system_clock import SystemClock
from chatledger.bootstrap.blobs import blobs_to_read
from chatledger.bootstrap.providers import make_generators
from chatledger.bootstrap.stores import open_for_reading
from chatledger.settings import Settings


class Replaying(msgspec.Struct, frozen=True):
    """What replays need."""

    ledger: SqlLedgerReading
    views: SqlViews
    replays: Replays
    shadows: Shadows
    generators: Mapping[str, Generator]
    clock: SystemClock


@asynccontextmanager
async def open_for_replay(settings: Settings, concurrency: int) -> AsyncIterator[Replaying]:
    """Open an existing store on connections that cannot write, and the generators; a server may go on beside it.

    Raises:
        NoStoreError: there is no store yet.
        SchemaError: the store's schema is not the one of this release.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    async with AsyncExitStack() as stack:
        reading = await stack.enter_async_context(open_for_reading(settings))
        generators = make_generators(settings)
        for generator in generators.values():
            stack.push_async_callback(generator.close)
        ledger, views, keyring, clock = SqlLedgerReading(reading.reader), reading.views, reading.keyring, SystemClock()
        replays = Replays(ledger, reading.codec, views)
        files = FileContents(views, keyring, blobs_to_read(settings))
        prompts = Prompts(views, lambda stream_id: ledger.stream(stream_id, reading.codec.decode_all), files.sent)
        limits = ShadowLimits(
            concurrency=concurrency,
            timeout=settings.generation_timeout,
            longest_answer=settings.max_answer_characters,
        )
        yield Replaying(ledger, views, replays, Shadows(replays, prompts, clock, limits), generators, clock)
