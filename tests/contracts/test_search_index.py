"""What every search index does."""

from chatledger.application.ports.search_index import IndexedMessage
from chatledger.application.system_clock import new_id

LEDGER = new_id()
LOWEST, HIGHEST = -(2**63), 2**63 - 1


def a_message(number: int, *terms: int, conversation_id=None) -> IndexedMessage:
    return IndexedMessage(number, new_id(), conversation_id or new_id(), frozenset(terms))


async def numbers(index, *terms: int, before: int | None = None, limit: int = 10) -> list[int]:
    return [found.number for found in await index.find(terms, before, limit)]


async def test_messages_are_found_by_all_of_the_terms_newest_first(open_search_index) -> None:
    index = await open_search_index()
    assert await index.begin(LEDGER, 1) == 0
    assert await numbers(index, 1) == []
    messages = [a_message(3, 1, 2), a_message(5, 1), a_message(9, 1, 2, LOWEST), a_message(12, 2, HIGHEST)]
    await index.put(messages, (), 20)
    assert await numbers(index, 1) == [9, 5, 3]
    assert await numbers(index, 1, 2) == [9, 3]
    assert await numbers(index, LOWEST, 2) == [9]
    assert await numbers(index, HIGHEST) == [12]
    assert await numbers(index, 1, 7) == []
    assert await numbers(index, 1, before=9) == [5, 3]
    assert await numbers(index, 1, limit=2) == [9, 5]
    (found,) = await index.find([HIGHEST], None, 10)
    assert found.message_id == messages[-1].message_id


async def test_what_is_put_twice_is_there_once(open_search_index) -> None:
    index = await open_search_index()
    await index.begin(LEDGER, 1)
    message = a_message(3, 1, 2)
    await index.put([message], (), 4)
    await index.put([message], (), 5)
    assert await numbers(index, 1, 2) == [3]


async def test_of_an_erased_conversation_nothing_is_left(open_search_index) -> None:
    index = await open_search_index()
    await index.begin(LEDGER, 1)
    erased = new_id()
    await index.put(
        [a_message(3, 1, conversation_id=erased), a_message(4, 1), a_message(5, 1, conversation_id=erased)], (), 6
    )
    await index.put([a_message(8, 1)], [erased, new_id()], 9)
    assert await numbers(index, 1) == [8, 4]


async def test_it_stands_where_it_was_left(open_search_index) -> None:
    first = await open_search_index()
    await first.begin(LEDGER, 1)
    await first.put([a_message(3, 1)], (), 7)
    await first.close()
    again = await open_search_index()
    assert await again.begin(LEDGER, 1) == 7
    assert await numbers(again, 1) == [3]


async def test_what_was_made_of_another_ledger_or_by_another_version_is_gone(open_search_index) -> None:
    index = await open_search_index()
    for ledger, version in ((LEDGER, 1), (new_id(), 1), (LEDGER, 2)):
        assert await index.begin(ledger, version) == 0
        assert await numbers(index, 1) == []
        await index.put([a_message(3, 1)], (), 7)


async def test_a_discarded_index_begins_anew(open_search_index) -> None:
    index = await open_search_index()
    await index.discard()
    await index.begin(LEDGER, 1)
    await index.put([a_message(3, 1)], (), 7)
    await index.discard()
    assert await index.begin(LEDGER, 1) == 0
    assert await numbers(index, 1) == []
