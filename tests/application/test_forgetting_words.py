"""What the search index remembers of words, once a conversation is erased."""

from uuid import UUID

from chatledger.application.search.indexing import EndedMessages
from chatledger.domain.conversation import Conversation
from tests.application.chat import until
from tests.support.databases import ON_SQLITE
from tests.support.server import a_context


@ON_SQLITE
async def test_a_batch_that_was_read_before_an_erasure_leaves_no_words_in_memory(open_chat, monkeypatch):
    async with open_chat() as chat:
        indexer, ledger = chat.application.searching._indexer, chat.running.ledger
        ended_after, erased = indexer._views.ended_after, list[UUID]()

        async def erased_once_read(position: int) -> EndedMessages:
            ended = await ended_after(position)
            if ended.messages and not erased:
                erased.append(ended.messages[0].conversation_id)
                await ledger.decide(
                    Conversation, erased[0], lambda staged: staged.aggregate.erase("retention"), a_context()
                )
            return ended

        monkeypatch.setattr(indexer._views, "ended_after", erased_once_read)
        await chat.to_the_end(await chat.send("tokens=1"))

        async def has_come_so_far() -> bool:
            return bool(erased) and indexer.position >= ledger.head_position

        await until(has_come_so_far)
        assert indexer.terms._term.cache_info().currsize == 0
