"""What every ledger store promises."""

import threading
from uuid import UUID

import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.tables import TOKEN_USAGE
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.storage import (
    Beginning,
    Delete,
    Head,
    Increase,
    Insert,
    LedgerStore,
    StorageUnavailableError,
    StoredStream,
    UniqueGuard,
    Update,
    Upsert,
)
from chatledger.application.system_clock import new_id
from tests.contracts.adapters import Withheld
from tests.persistence.stores import a_row


def rows_of(rows):
    return list(rows)


async def log(store: LedgerStore):
    return await store.log(rows_of, after=0, limit=1_000)


async def test_an_empty_ledger_ends_at_nothing(ledger_store) -> None:
    assert await ledger_store.head() == Head(0, 0)
    assert await log(ledger_store) == []
    assert await ledger_store.stream(new_id(), rows_of) == []


async def test_rows_come_back_as_they_went_in(ledger_store) -> None:
    key_id, first, second = new_id(), new_id(), new_id()
    rows = [
        a_row(1, first, 1, sealed=b"\0\xff", key_id=key_id, algorithm="aes-256-gcm"),
        a_row(2, second, 1, category="app", context=None, context_position=1),
        a_row(3, first, 2, key_id=key_id, schema=2, public=b"{}"),
    ]
    with ledger_store.write() as transaction:
        transaction.append(rows[:2])
        transaction.append(rows[2:])
        assert transaction.head() == Head(3, rows[2].recorded_at)
        assert transaction.read_stream(first) == [rows[0], rows[2]]
        assert transaction.read_log(1, 1) == [rows[1]]
        raw = transaction.read_raw_log(0, 2)
        assert [raw.event(row) for row in raw.rows] == rows[:2]
        assert [row[3] for row in raw.rows] == [row.event_id.bytes for row in rows[:2]]
    assert await log(ledger_store) == rows
    assert await ledger_store.head() == Head(3, rows[2].recorded_at)
    assert await ledger_store.stream(first, rows_of) == [rows[0], rows[2]]
    assert await ledger_store.stream(first, rows_of, after=1) == [rows[2]]
    assert await ledger_store.stream(first, rows_of, limit=1) == [rows[0]]
    assert await ledger_store.log(rows_of, after=1, limit=1) == [rows[1]]
    assert [leaf_hash(row) for row in await log(ledger_store)] == [row.leaf for row in rows]


async def test_a_part_of_a_stream_lies_between_two_positions(ledger_store) -> None:
    stream_id = new_id()
    rows = [a_row(1, stream_id, 1), a_row(2, new_id(), 1), a_row(3, stream_id, 2), a_row(4, stream_id, 3)]
    with ledger_store.write() as transaction:
        transaction.append(rows)
    assert await ledger_store.stream(stream_id, rows_of, up_to=3) == [rows[0], rows[2]]
    assert await ledger_store.stream(stream_id, rows_of, beyond=1) == [rows[2], rows[3]]
    assert await ledger_store.stream(stream_id, rows_of, beyond=1, up_to=3, limit=5) == [rows[2]]
    assert await ledger_store.stream(stream_id, rows_of, up_to=0) == []


async def test_a_time_stands_for_the_last_position_that_was_recorded_by_then(ledger_store) -> None:
    times = [5, 5, 7, 7, 7, 20, 21]
    assert await ledger_store.position_at(5) == 0
    with ledger_store.write() as transaction:
        transaction.append([a_row(position, new_id(), 1, recorded_at=at) for position, at in enumerate(times, 1)])
    found = {moment: await ledger_store.position_at(moment) for moment in (0, 4, 5, 6, 7, 8, 19, 20, 21, 99)}
    assert found == {0: 0, 4: 0, 5: 2, 6: 2, 7: 5, 8: 5, 19: 5, 20: 6, 21: 7, 99: 7}


async def test_what_streams_began_with(ledger_store) -> None:
    first, second = new_id(), new_id()
    rows = [
        a_row(1, first, 1, public=b'{"a":1}'),
        a_row(2, second, 1, category="app"),
        a_row(3, first, 2, public=b'{"a":2}'),
    ]
    with ledger_store.write() as transaction:
        transaction.append(rows)
    found = await ledger_store.beginnings([first, second, new_id()])
    assert found == {first: Beginning("message", b'{"a":1}'), second: Beginning("app", rows[1].public)}
    assert await ledger_store.beginnings([]) == {}


async def test_a_ledger_is_the_same_one_each_time(ledger_store) -> None:
    assert isinstance(await ledger_store.incarnation(), UUID)
    assert await ledger_store.incarnation() == await ledger_store.incarnation()


async def test_many_rows_and_streams_in_one_transaction(ledger_store) -> None:
    streams = [new_id() for _ in range(700)]
    rows = [a_row(number, stream_id, 1) for number, stream_id in enumerate(streams, 1)]
    with ledger_store.write() as transaction:
        transaction.append(rows)
    with ledger_store.write() as transaction:
        found = transaction.streams([*streams, new_id()])
    assert found == dict.fromkeys(streams, StoredStream(1, None))
    assert await log(ledger_store) == rows


async def test_what_a_stream_has_is_known_in_and_after_its_transaction(ledger_store) -> None:
    stream_id, key_id = new_id(), new_id()
    with ledger_store.write() as transaction:
        assert transaction.streams([stream_id]) == {}
        transaction.append([a_row(1, stream_id, 1, key_id=key_id), a_row(2, stream_id, 2, key_id=key_id)])
        assert transaction.streams([stream_id]) == {stream_id: StoredStream(2, key_id)}
    with ledger_store.write() as transaction:
        assert transaction.streams([stream_id]) == {stream_id: StoredStream(2, key_id)}


async def test_a_rollback_leaves_no_gap_and_nothing_behind(ledger_store) -> None:
    stream_id, other = new_id(), new_id()
    with ledger_store.write() as transaction:
        transaction.append([a_row(1, stream_id, 1)])

    def write_and_fail() -> None:
        with ledger_store.write() as transaction:
            transaction.append([a_row(2, stream_id, 2), a_row(3, other, 1, name="NeverSeen")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert await ledger_store.head() == Head(1, 1_000_001)
    with ledger_store.write() as transaction:
        assert transaction.head() == Head(1, 1_000_001)
        assert transaction.streams([stream_id, other]) == {stream_id: StoredStream(1, None)}
        transaction.append([a_row(2, other, 1, name="SeenNow"), a_row(3, new_id(), 1, name="NeverSeen")])
    assert [(row.position, row.name) for row in await log(ledger_store)] == [
        (1, "StopRequested"),
        (2, "SeenNow"),
        (3, "NeverSeen"),
    ]


async def test_a_version_is_given_once(ledger_store) -> None:
    stream_id = new_id()
    with ledger_store.write() as transaction:
        transaction.append([a_row(1, stream_id, 1)])

    def write_again() -> None:
        with ledger_store.write() as transaction:
            transaction.append([a_row(2, new_id(), 1), a_row(3, stream_id, 1)])

    with pytest.raises(Exception, match=r"(?i)unique"):
        write_again()
    assert await ledger_store.head() == Head(1, 1_000_001)
    assert len(await log(ledger_store)) == 1


async def test_a_position_is_given_once(ledger_store) -> None:
    with ledger_store.write() as transaction:
        transaction.append([a_row(1, new_id(), 1)])

    def write_again() -> None:
        with ledger_store.write() as transaction:
            transaction.append([a_row(1, new_id(), 1)])

    with pytest.raises(Exception, match=r"(?i)unique"):
        write_again()
    assert len(await log(ledger_store)) == 1


async def test_readers_see_what_is_committed_and_nothing_else(ledger_store) -> None:
    stream_id = new_id()
    with ledger_store.write() as transaction:
        transaction.append([a_row(1, stream_id, 1)])
        assert await ledger_store.head() == Head(0, 0)
        assert await log(ledger_store) == []
        assert await ledger_store.stream(stream_id, rows_of) == []
        assert await ledger_store.context_at([1]) == {}
    assert await ledger_store.head() == Head(1, 1_000_001)
    assert len(await ledger_store.stream(stream_id, rows_of)) == 1


async def test_context_is_found_by_position(ledger_store) -> None:
    rows = [a_row(number, new_id(), 1, context=str(number).encode()) for number in range(1, 1_101)]
    with ledger_store.write() as transaction:
        transaction.append(rows)
    assert await ledger_store.context_at([3, 1, 3]) == {1: b"1", 3: b"3"}
    assert await ledger_store.context_at(range(1, 1_101)) == {row.position: row.context for row in rows}
    assert await ledger_store.context_at([]) == {}


async def test_writers_wait_in_line(ledger_store) -> None:
    """Each reads the end of the ledger and goes on from there: two at once would collide or leave a gap."""

    def write() -> None:
        for _ in range(25):
            with ledger_store.write() as transaction:
                head = transaction.head()
                transaction.append([a_row(head.position + 1, new_id(), 1), a_row(head.position + 2, new_id(), 1)])

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.position for row in await log(ledger_store)] == list(range(1, 401))


async def test_what_a_decoder_raises_comes_out(ledger_store) -> None:
    with pytest.raises(ZeroDivisionError):
        await ledger_store.log(lambda rows: 1 // len(rows), after=0, limit=1)
    assert await log(ledger_store) == []


# Read models


async def test_a_guard_holds_while_its_key_is_free(ledger_store) -> None:
    app_id, key_id = new_id(), new_id()
    guard = UniqueGuard("api_key", ("hash",))
    with ledger_store.write() as transaction:
        assert transaction.holds(guard)
        transaction.apply([Insert("api_keys", {"key_hash": "hash", "key_id": key_id, "app_id": app_id})])
        assert not transaction.holds(guard)
    with ledger_store.write() as transaction:
        assert not transaction.holds(guard)
        transaction.apply([Delete("api_keys", {"key_id": key_id})])
        assert transaction.holds(guard)


async def test_changes_are_made_in_order_and_none_where_no_row_is(ledger_store) -> None:
    lease = {"worker": "one", "attempt": 1, "expires_at": 10}
    first, second = new_id(), new_id()
    changes = [
        Insert("leases", {"message_id": first, **lease}),
        Update("leases", {"message_id": first}, {"worker": "two"}),
        Upsert("leases", {"message_id": second}, {"message_id": second, **lease}, {"attempt": 7}),
        Upsert("leases", {"message_id": second}, {"message_id": second, **lease}, {"attempt": 1, "expires_at": 20}),
        Update("leases", {"message_id": new_id()}, {"worker": "nobody"}),
        Delete("leases", {"message_id": new_id()}),
    ]
    with ledger_store.write() as transaction:
        transaction.apply(changes)
        transaction.apply([Delete("leases", {"message_id": first})])
        transaction.clear(["leases"])
        transaction.apply(changes)
        assert transaction.head() == Head(0, 0)


async def test_amounts_add_up_within_a_transaction_and_after_it(ledger_store) -> None:
    app_id, other = new_id(), new_id()

    def more(of: UUID, day: int, tokens: int) -> Increase:
        return Increase("token_usage", {"app_id": of, "day": day}, {"tokens": tokens})

    with ledger_store.write() as transaction:
        transaction.apply([more(app_id, 1, 5), more(other, 1, 7), more(app_id, 2, 1), more(app_id, 1, 10)])
        transaction.apply([more(app_id, 1, 100)])
    with ledger_store.write() as transaction:
        transaction.apply([more(app_id, 1, 1_000)])
    rows = await ledger_store._reader.query(lambda c: c.execute(sa.select(TOKEN_USAGE)).all())
    assert {(row.app_id, row.day): row.tokens for row in rows} == {(app_id, 1): 1_115, (other, 1): 7, (app_id, 2): 1}


@pytest.mark.parametrize("with_room", [False, True])
async def test_to_ask_whether_it_can_be_written_changes_nothing(ledger_store, with_room: bool) -> None:
    rows = [a_row(1, new_id(), 1)]
    ledger_store.require_writable(with_room=with_room)
    with ledger_store.write() as transaction:
        transaction.append(rows)
    ledger_store.require_writable(with_room=with_room)
    assert await ledger_store.head() == Head(1, rows[0].recorded_at)
    assert await log(ledger_store) == rows


@pytest.mark.parametrize("with_room", [False, True])
async def test_a_store_that_takes_no_write_says_so_until_it_does(withheld: Withheld, with_room: bool) -> None:
    with withheld.trouble(), pytest.raises(StorageUnavailableError):
        withheld.ledger.require_writable(with_room=with_room)
    withheld.ledger.require_writable(with_room=with_room)
