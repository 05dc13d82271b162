"""What forgets, joined to what it needs."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from chatledger.adapters.persistence.views.erasure import SqlErasureViews
from chatledger.application.audit.reads import ContentReads
from chatledger.application.background import Background
from chatledger.application.commands.stopping import Stopping
from chatledger.application.erasure.destroying import Destroying
from chatledger.application.erasure.erasing import Erasing
from chatledger.application.erasure.following_keys import FollowingKeys
from chatledger.application.erasure.holding import LegalHolds
from chatledger.application.erasure.retaining import Retaining
from chatledger.application.leadership import Post
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.ports.erasure import Forgetful
from chatledger.application.ports.files import BlobStore
from chatledger.application.ports.keys import SigningKeys
from chatledger.application.search.indexing import Indexer
from chatledger.application.system_clock import new_id
from chatledger.bootstrap.core import Core


class Forgetting(msgspec.Struct, frozen=True):
    """On request, by age, what stands in the way of both, and what other processes have forgotten.

    Attributes:
        indexer: keeps up the search index, which has to be rid of whoever is erased; None where there is none.
    """

    erasing: Erasing
    retaining: Retaining
    holds: LegalHolds
    following: FollowingKeys | None
    indexer: Indexer | None

    def fill(self, post: Post, writer: GroupCommitWriter, background: Background) -> AbstractAsyncContextManager[None]:
        """Let both processes hear of what is committed, and run on one node, beside the index that they wait for."""
        for process in (self.erasing, self.retaining):
            writer.observe(process.committed)
        if self.following is not None:
            background.start(self.following.run)
        work = (self.erasing.run, self.retaining.run)
        return post.filled(*work) if self.indexer is None else post.filled(*work, self.indexer.run)


def open_forgetting(
    core: Core,
    stopping: Stopping,
    blobs: BlobStore,
    reads: ContentReads,
    *,
    forgetful: Sequence[Forgetful],
    indexer: Indexer | None,
    signing_keys: Sequence[SigningKeys],
    is_shared: bool,
) -> Forgetting:
    """All of it, not yet running."""
    ledger, views = core.ledger, SqlErasureViews(core.reader, core.seals)
    run_alone = core.writer.run_alone
    destroying = Destroying(core.store, core.catching_up, core.keyring, run_alone, forgetful, is_shared=is_shared)
    return Forgetting(
        Erasing(ledger, views, stopping, destroying, blobs, new_id, indexer),
        Retaining(ledger, views, destroying, blobs, core.clock, new_id),
        LegalHolds(ledger, views, reads, new_id),
        FollowingKeys(core.keyring, forgetful, signing_keys) if is_shared else None,
        indexer,
    )
