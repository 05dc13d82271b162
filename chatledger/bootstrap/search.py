"""The search: its index beside the ledger."""

from contextlib import AsyncExitStack
from uuid import UUID

from chatledger.adapters.persistence.database import Database
from chatledger.adapters.persistence.search_index import SqlSearchIndex
from chatledger.adapters.persistence.store import Reader
from chatledger.adapters.persistence.views.ended import SqlEndedMessageViews
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.ports.keys import Keyring
from chatledger.application.ports.leases import Fence
from chatledger.application.search.indexing import Indexer
from chatledger.application.search.terms import Terms


async def open_index(
    stack: AsyncExitStack,
    database: Database,
    reader: Reader,
    keyring: Keyring,
    writer: GroupCommitWriter,
    ledger: UUID,
    fence: Fence,
    *,
    is_wanted: bool,
    is_shared: bool,
) -> Indexer | None:
    """Open the index beside the ledger, not yet kept up. Where none is wanted, none is left from earlier days."""
    index = SqlSearchIndex(database.beside("search"), fence)
    stack.push_async_callback(index.close)
    if not is_wanted:
        await index.discard()
        return None
    if is_shared:
        await index.prepare()
    indexer = Indexer(SqlEndedMessageViews(reader, RowSeals(keyring)), index, Terms(keyring), ledger)
    writer.observe(indexer.committed)
    return indexer
