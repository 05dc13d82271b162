"""What every adapter of leases does, seen from two nodes."""

import asyncio
from itertools import pairwise

import pytest

from chatledger.adapters.persistence.database import database_at
from chatledger.adapters.persistence.leases import PostgresLeases, require_lease
from chatledger.application.ports.leases import Lease
from chatledger.application.ports.storage import StorageUnavailableError
from tests.application.chat import until
from tests.support.databases import connection_to

pytestmark = pytest.mark.postgres

LONG, SHORT = 60.0, 0.05


async def take(node, name: str, holder: str, seconds: float = LONG) -> Lease:
    """As soon as it is free."""
    (taken,) = await until(lambda: node.acquire([name], holder, seconds))
    return taken


async def test_of_two_nodes_one_has_a_lease(nodes):
    one, other = nodes
    assert await one.acquire(["notary", "sweeper"], "a", LONG) == [Lease("notary", "a", 1), Lease("sweeper", "a", 1)]
    assert await other.acquire(["notary", "search"], "b", LONG) == [Lease("search", "b", 1)]


async def test_of_those_who_ask_at_once_one_gets_it(nodes):
    holders = [str(number) for number in range(8)]
    asked = [nodes[number % 2].acquire(["notary"], holder, LONG) for number, holder in enumerate(holders)]
    taken = [lease for leases in await asyncio.gather(*asked) for lease in leases]
    assert [lease.token for lease in taken] == [1]


async def test_what_has_ended_is_taken_over_under_a_higher_token(nodes):
    one, other = nodes
    tokens = []
    for number in range(4):
        node, holder = ((one, "a"), (other, "b"))[number % 2]
        tokens.append((await take(node, "notary", holder, SHORT)).token)
    assert all(before < after for before, after in pairwise(tokens))


async def test_what_is_renewed_does_not_end(nodes):
    one, other = nodes
    lease = await take(one, "notary", "a", 0.4)
    for _ in range(12):
        assert await one.renew([lease], 0.4) == [lease]
        assert await other.acquire(["notary"], "b", LONG) == []
        await asyncio.sleep(0.05)


async def test_a_renewal_that_comes_late_is_refused_whether_another_has_it_or_nobody(nodes):
    one, other = nodes
    kept, ended, lost = [await take(one, name, "a", SHORT) for name in ("kept", "ended", "lost")]
    await take(other, "lost", "b")
    kept = await take(one, "kept", "a")
    await asyncio.sleep(2 * SHORT)
    assert await one.renew([kept, ended, lost], LONG) == [kept]
    assert await one.renew([], LONG) == []
    assert await other.acquire(["ended"], "b", LONG) == [Lease("ended", "b", ended.token + 1)]


async def test_a_holder_that_never_got_the_answer_takes_it_anew(nodes):
    one, _ = nodes
    lease = await take(one, "notary", "a")
    (anew,) = await one.acquire(["notary"], "a", LONG)
    assert anew.token > lease.token
    assert await one.renew([lease], LONG) == []


async def test_what_is_released_is_free_at_once_and_its_token_is_not_given_out_again(nodes):
    one, other = nodes
    lease = await take(one, "notary", "a")
    await one.release(lease)
    assert await one.renew([lease], LONG) == []
    (taken,) = await other.acquire(["notary"], "b", LONG)
    assert taken.token > lease.token
    await one.release(lease)
    assert await one.acquire(["notary"], "a", LONG) == []


async def test_while_it_is_written_under_a_lease_nobody_takes_it_and_its_holder_renews_all_that_it_has(
    nodes, shared_database
):
    one, other = nodes
    written, idle = [await take(one, name, "a", 0.4) for name in ("written", "idle")]
    writing = database_at(shared_database).beside("search")
    with writing.begin() as connection:
        require_lease(connection, written)
        assert await one.renew([written, idle], 0.4) == [written, idle]
        taken = await until(lambda: other.acquire(["written", "idle"], "b", LONG))
        assert taken == [Lease("idle", "b", idle.token + 1)]
        assert await one.renew([written], LONG) == []
    assert await other.acquire(["written"], "b", LONG) == [Lease("written", "b", written.token + 1)]
    writing.dispose()


async def test_a_connection_that_was_lost_is_made_anew(nodes, shared_database):
    one, other = nodes
    lease = await take(one, "notary", "a")
    with connection_to(shared_database) as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert await one.renew([lease], LONG) == [lease]
    assert await other.acquire(["notary"], "b", LONG) == []


async def test_a_database_that_is_away_is_trouble_in_the_store(shared_database):
    leases = PostgresLeases(
        database_at(f"postgresql://nobody@127.0.0.1:1/{shared_database.rpartition('/')[2]}").beside("x")
    )
    for asked in (leases.acquire(["notary"], "a", LONG), leases.renew([Lease("notary", "a", 1)], LONG)):
        with pytest.raises(StorageUnavailableError):
            await asked
    await leases.close()
