"""What every search index does."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import event

from chatledger.adapters.persistence.search_index import SAMPLE
from chatledger.application.ports.search_index import IndexedMessage
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.system_clock import new_id
from tests.support.databases import ON_SQLITE

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


class Erased:
    """An index from which some of its conversations are removed; their terms are no others' terms."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.terms: list[int] = []

    async def put(self, index, seed: int = 1) -> None:
        chance, doomed, messages = Random(seed), [], []
        for number in range(1, 401):
            terms = [chance.randrange(LOWEST, HIGHEST) for _ in range(25)]
            messages.append(a_message(number, *terms))
            if chance.random() < 0.3:
                doomed.append(messages[-1].conversation_id)
                self.terms += terms
        chance.shuffle(messages)
        for start in range(0, len(messages), 50):
            await index.put(messages[start : start + 50], (), 500)
        await index.put((), doomed, 501)

    def left(self) -> int:
        """How many of their terms are in any file, as one or the other of the tables holds them."""
        written = b"".join(path.read_bytes() for path in self.folder.glob("search.db*"))
        return sum(
            term.to_bytes(8, order, signed=True) in written for term in self.terms for order in ("big", "little")
        )


@ON_SQLITE
async def test_what_was_removed_is_in_no_file_once_it_is_purged(open_search_index, tmp_path: Path) -> None:
    index, erased = await open_search_index(), Erased(tmp_path)
    await index.begin(LEDGER, 1)
    await erased.put(index)
    assert erased.left() > 0
    await index.purge()
    assert erased.left() == 0


@ON_SQLITE
async def test_what_was_not_purged_before_a_crash_is_when_it_is_begun_again(open_search_index, tmp_path: Path) -> None:
    index, erased = await open_search_index(), Erased(tmp_path)
    await index.begin(LEDGER, 1)
    await erased.put(index)
    await index.close()
    again = await open_search_index()
    assert await again.begin(LEDGER, 1) == 501
    assert erased.left() == 0


@ON_SQLITE
async def test_an_index_that_somebody_reads_is_not_purged_and_that_is_told(open_search_index, tmp_path: Path) -> None:
    index, erased = await open_search_index(), Erased(tmp_path)
    await index.begin(LEDGER, 1)
    await erased.put(index)
    with closing(sqlite3.connect(tmp_path / "search.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM search_messages").fetchall()
        with pytest.raises(StorageUnavailableError, match="being read"):
            await index.purge()
    await index.purge()
    assert erased.left() == 0


@ON_SQLITE
@pytest.mark.parametrize("terms", [(1, 2), (2, 1)])
async def test_the_rarer_of_two_common_terms_leads(open_search_index, terms: tuple[int, int]) -> None:
    index = await open_search_index()
    await index.begin(LEDGER, 1)
    await index.put([a_message(number, 1, *([2] if number % 2 else [])) for number in range(1, 2 * SAMPLE + 3)], (), 9)
    led: list[tuple[object, ...]] = []
    event.listen(index._engine, "before_cursor_execute", lambda *asked: led.append(asked[3]))
    assert await numbers(index, *terms, limit=2) == [2 * SAMPLE + 1, 2 * SAMPLE - 1]
    assert led[-1][0] == 2
