"""The key store in PostgreSQL: what is left in the database's files, and what a database in trouble costs."""

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from chatledger.adapters import postgres_connections
from chatledger.adapters.keys.cipher import WRAPPED_BYTES
from chatledger.adapters.keys.copying import copy_key_store
from chatledger.adapters.keys.key_store import KeyStoreWriting
from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.master import GivenMasterKeyFile, MasterKeyError
from chatledger.adapters.keys.postgres import PostgresKeyStore
from chatledger.adapters.keys.postgres_parts import WRITERS_LOCK, rewrite_overwritten
from chatledger.adapters.persistence.database import database_at
from chatledger.adapters.persistence.store import write_transaction
from chatledger.adapters.persistence.transaction import EventTypes
from chatledger.application.ports.keys import KeyDestroyedError, SuccessorError
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.system_clock import new_id
from tests.persistence.stores import a_row
from tests.support.databases import ON_POSTGRES
from tests.support.master_keys import master_key
from tests.support.postgres import PostgresServer
from tests.support.process import until

pytestmark = ON_POSTGRES

WAITING = """
SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE NOT granted AND datname = current_database()
"""
DEADLINE = 20.0
MASTER, NEXT = bytes(range(100, 132)), bytes(range(200, 232))


@pytest.fixture
def url(keys_url: str | None) -> str:
    assert keys_url is not None
    return keys_url


@pytest.fixture
def keyring(url: str, tmp_path: Path) -> Iterator[StoredKeyring]:
    with closing(StoredKeyring(PostgresKeyStore(url, "relaxed"), master_key(tmp_path, MASTER), new_id)) as keyring:
        yield keyring


@contextmanager
def database(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def wraps_in(url: str) -> dict[bytes, bytes]:
    with database(url) as connection:
        return dict(connection.execute("SELECT key_id, wrapped FROM chatledger_keys.keys").fetchall())


def files_of(server: PostgresServer, url: str) -> bytes:
    """All that the database has in its files, but for the log of what is to be written to them."""
    with database(url) as connection:
        connection.execute("CHECKPOINT")
        row = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    assert row is not None
    folder = server.data / "base" / str(row[0])
    return b"".join(file.read_bytes() for file in folder.iterdir())


def left_of(wraps: Collection[bytes], written: bytes) -> list[bytes]:
    return [wrapped for wrapped in wraps if any(wrapped[at : at + 16] in written for at in range(0, WRAPPED_BYTES, 16))]


def test_of_a_destroyed_or_rotated_key_no_byte_is_left_in_the_databases_files(
    keyring: StoredKeyring, url: str, postgres_server: PostgresServer
) -> None:
    """Nor where somebody has a snapshot in which it could still be seen, nor where the table was analyzed."""
    families = [
        [person := keyring.new_key(None), *(keyring.new_key(person.key_id) for _ in range(8))] for _ in range(40)
    ]
    keyring.make_durable([new for family in families for new in family])
    wraps = wraps_in(url)
    with database(url) as connection, connection.transaction(), database(url) as analyzing:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM pg_class")
        analyzing.execute("ANALYZE chatledger_keys.keys")
        assert len(left_of(wraps.values(), files_of(postgres_server, url))) == len(wraps)

        doomed = families[:20]
        keyring.destroy([family[0].key_id for family in doomed[1:]])
        keyring.destroy([doomed[0][3].key_id])
        keyring.scrub()
        # What those had wrapped is noise with them.
        gone = [wraps[family[0].key_id.bytes] for family in doomed[1:]]
        assert not left_of([*gone, wraps[doomed[0][3].key_id.bytes]], files_of(postgres_server, url))

        rotated = families[20:]
        keyring.rotate_key(rotated[0][0].key_id)
        keyring.rotate_master_key()
        keyring.scrub()
        former = [wraps[family[0].key_id.bytes] for family in rotated]
        assert not left_of(former, files_of(postgres_server, url))
    for family in rotated:
        for new in family:
            keyring.key(new.key_id)


def test_a_copy_that_begins_while_keys_are_destroyed_has_all_the_others(
    keyring: StoredKeyring, url: str, tmp_path: Path
) -> None:
    """To a snapshot of before, the part of the table that is written anew is empty."""
    doomed, *others = [keyring.new_key(None) for _ in range(100)]
    keyring.make_durable([doomed, *others])
    target = tmp_path / "copy"

    def copy() -> None:
        with closing(PostgresKeyStore(url, read_only=True)) as source:
            copy_key_store(source, target)

    copying = threading.Thread(target=copy)
    with database(url) as beside, closing(keyring.store._connect()) as rewriting:
        keyring.destroy([doomed.key_id])
        with rewriting.transaction():  # it ends with this one
            rewrite_overwritten(rewriting, threading.Event())
            copying.start()
            until(lambda: beside.execute(WAITING).rowcount)
        copying.join(10)
        assert not copying.is_alive()
        wanted = {row[0] for row in beside.execute("SELECT key_id FROM chatledger_keys.keys")}
    with closing(sqlite3.connect(target)) as copied:
        assert {row[0] for row in copied.execute("SELECT key_id FROM keys")} == wanted


@contextmanager
def held_while_scrubbing(keyring: StoredKeyring, url: str, key_id: UUID) -> Iterator[Future[None]]:
    """What scrubs has written a part anew, and waits for a reader until this is left."""
    keyring.destroy([key_id])
    with ThreadPoolExecutor() as pool, database(url) as beside, database(url) as reading, reading.transaction():
        reading.execute("LOCK TABLE chatledger_keys.keys IN ACCESS SHARE MODE")
        done = pool.submit(keyring.scrub)
        until(lambda: beside.execute(WAITING).rowcount)
        yield done


def test_while_a_part_is_written_anew_other_nodes_make_read_and_destroy_keys(
    keyring: StoredKeyring, url: str, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    doomed, also_doomed, kept, person = [keyring.new_key(None) for _ in range(4)]
    child = keyring.new_key(person.key_id)
    keyring.make_durable([doomed, also_doomed, kept, person, child])
    wraps = wraps_in(url)
    with (
        closing(StoredKeyring(PostgresKeyStore(url, "relaxed"), master_key(tmp_path, MASTER), new_id)) as other,
        ThreadPoolExecutor() as rotating,
        database(url) as beside,
    ):
        with held_while_scrubbing(keyring, url, doomed.key_id) as done:
            new = [other.new_key(None) for _ in range(100)]  # some in each part
            other.make_durable(new)
            assert other.destroy([also_doomed.key_id, new[0].key_id]) == 2
            other.key(kept.key_id)
            rotated = rotating.submit(other.rotate_key, person.key_id)
            until(lambda: beside.execute("SELECT FROM chatledger_keys.changes WHERE what = 'rotated'").rowcount)
            assert not done.done()
            assert left_of([wraps[doomed.key_id.bytes]], files_of(postgres_server, url))
        done.result(10)
        assert rotated.result(10) == 1
    keyring.scrub()
    gone = [wraps[each.key_id.bytes] for each in (doomed, also_doomed, person)]
    assert not left_of(gone, files_of(postgres_server, url))
    with closing(StoredKeyring(PostgresKeyStore(url, "relaxed"), master_key(tmp_path, MASTER), new_id)) as after:
        for there in (kept, person, child, *new[1:]):
            after.key(there.key_id)
        for lost in (doomed, also_doomed, new[0]):
            with pytest.raises(KeyDestroyedError):
                after.key(lost.key_id)


@pytest.mark.parametrize("how", ["killed", "closed"])
def test_what_one_that_ended_on_the_way_has_left_is_gone_once_another_scrubs(
    keyring: StoredKeyring, url: str, tmp_path: Path, postgres_server: PostgresServer, how: str
) -> None:
    doomed = keyring.new_key(None)
    keyring.make_durable([doomed])
    wrapped = wraps_in(url)[doomed.key_id.bytes]
    with held_while_scrubbing(keyring, url, doomed.key_id) as done, database(url) as beside:
        if how == "closed":
            keyring.close()
        else:
            beside.execute(f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) AS waiting")
        with pytest.raises(StorageUnavailableError):
            done.result(10)
    assert left_of([wrapped], files_of(postgres_server, url))
    with closing(StoredKeyring(PostgresKeyStore(url, "relaxed"), master_key(tmp_path, MASTER), new_id)) as after:
        after.scrub()
        assert not left_of([wrapped], files_of(postgres_server, url))
        with pytest.raises(KeyDestroyedError):
            after.key(doomed.key_id)


def test_one_that_is_away_says_so_and_is_used_again_when_it_is_back(
    keyring: StoredKeyring, url: str, postgres_server: PostgresServer
) -> None:
    stored, new = keyring.new_key(None), keyring.new_key(None)
    keyring.make_durable([stored])
    name = url.rpartition("/")[2]
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    with database(postgres_server.dsn) as beside:
        try:
            beside.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            beside.execute(end)
            for use in (keyring.catch_up, lambda: keyring.make_durable([new]), lambda: keyring.key(new_id())):
                with pytest.raises(StorageUnavailableError) as told:
                    use()
                assert "INSERT" not in str(told.value)
        finally:
            beside.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        keyring.make_durable([new])
        beside.execute(end)
        assert keyring.catch_up() == 0
        beside.execute(end)
        keyring.destroy([stored.key_id])


def begin(_writing: KeyStoreWriting) -> None:
    """And no more."""


def insert(writing: KeyStoreWriting) -> None:
    writing.execute_many("INSERT INTO keys (key_id, parent_id, wrapped) VALUES (?, ?, ?)", [(b"1", None, b"2")])


@pytest.mark.parametrize("work", [begin, insert])
def test_one_that_stands_still_in_the_middle_of_writing_lets_go(
    url: str, monkeypatch: pytest.MonkeyPatch, work: Callable[[KeyStoreWriting], None]
) -> None:
    def stand_still() -> None:
        with still.write() as writing:
            work(writing)
            beside.require_writable()

    with closing(PostgresKeyStore(url, "relaxed")) as beside:
        monkeypatch.setattr(postgres_connections, "SECONDS_TO_STAND_STILL", 0.2)
        still = PostgresKeyStore(url, "relaxed")
        with closing(still), pytest.raises(StorageUnavailableError, match="idle-in-transaction"):
            stand_still()
        assert beside.read("SELECT count(*) FROM keys") == [(0,)]


@contextmanager
def another_thread_writing(keyring: StoredKeyring, _url: str) -> Iterator[None]:
    is_at_it, done = threading.Event(), threading.Event()

    def write() -> None:
        with keyring.store.turn:
            is_at_it.set()
            done.wait(DEADLINE)

    thread = threading.Thread(target=write)
    thread.start()
    is_at_it.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def another_process_writing(_keyring: StoredKeyring, url: str) -> Iterator[None]:
    with database(url) as other, other.transaction():
        other.execute("SET LOCAL search_path TO chatledger_keys")
        other.execute(WRITERS_LOCK)
        yield


@pytest.mark.parametrize("elsewhere", [another_thread_writing, another_process_writing])
def test_who_waits_for_it_under_the_ledgers_lock_ends_in_good_time(
    url: str,
    migrated_database: str,
    postgres_server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: Callable[[StoredKeyring, str], AbstractContextManager[None]],
) -> None:
    """A commit with a new key is told so, and the others in it come through."""
    monkeypatch.setattr(postgres_connections, "SECONDS_TO_STAND_STILL", 3.0)
    ledger = postgres_server.fresh_database(migrated_database)
    keyring = StoredKeyring(PostgresKeyStore(url, "relaxed"), master_key(tmp_path, MASTER), new_id)
    with closing(keyring), database_at(ledger, "relaxed").as_node() as engine:
        with elsewhere(keyring, url), write_transaction(engine, EventTypes()) as transaction:
            with pytest.raises(StorageUnavailableError, match=r"lock timeout|in use for long"):
                keyring.make_durable([keyring.new_key(None)])
            transaction.append([a_row(1, new_id(), 1)])
        keyring.make_durable([keyring.new_key(None)])
    postgres_server.drop_database(ledger)


def test_while_others_who_write_are_waited_for_what_they_destroy_is_seen(
    keyring: StoredKeyring, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who has the ledger's lock does not wait for them."""
    monkeypatch.setattr(postgres_connections, "SECONDS_TO_STAND_STILL", 50.0)
    keyring.make_durable([stored := keyring.new_key(None)])
    with ThreadPoolExecutor() as pool, database(url) as beside:
        with another_process_writing(keyring, url):
            waiting = pool.submit(keyring.require_writable)
            until(lambda: beside.execute(f"{WAITING} AND locktype = 'advisory'").rowcount)
            keyring.catch_up()
            assert not waiting.done()
            for work in (lambda: keyring.make_durable([keyring.new_key(None)]), lambda: keyring.destroy([new_id()])):
                with pytest.raises(StorageUnavailableError, match="lock timeout"):
                    work()
            assert not waiting.done()
            assert keyring.key(stored.key_id)
        waiting.result(DEADLINE)


def test_once_it_is_closed_nobody_opens_it_again(keyring: StoredKeyring, url: str) -> None:
    """A thread that was at it would leave a connection that nobody closes."""
    with database(url) as beside:
        keyring.close()
        with pytest.raises(StorageUnavailableError, match="closed"):
            keyring.catch_up()
        own = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'chatledger'"
        until(lambda: not beside.execute(own).rowcount)


def test_who_waits_for_another_that_writes_parts_anew_ends_when_it_is_closed(
    keyring: StoredKeyring, url: str, tmp_path: Path
) -> None:
    one, two = keyring.new_key(None), keyring.new_key(None)
    keyring.make_durable([one, two])
    other = StoredKeyring(PostgresKeyStore(url, "relaxed"), master_key(tmp_path, MASTER), new_id)
    with held_while_scrubbing(keyring, url, one.key_id) as done, ThreadPoolExecutor() as pool, database(url) as beside:
        other.destroy([two.key_id])
        waiting = pool.submit(other.scrub)
        until(lambda: beside.execute(f"{WAITING} AND locktype = 'advisory'").rowcount)
        other.close()
        with pytest.raises(StorageUnavailableError, match="closed"):
            waiting.result(DEADLINE)
        assert not done.done()
    done.result(DEADLINE)


# The master key of many nodes


def given(folder: Path, secret: bytes | None) -> GivenMasterKeyFile:
    folder.mkdir(exist_ok=True)
    if secret is not None:
        master_key(folder, secret)
    return GivenMasterKeyFile(folder / "master.key")


def test_no_node_makes_a_master_key_and_whoever_is_alone_makes_one(url: str, tmp_path: Path) -> None:
    with closing(PostgresKeyStore(url, "relaxed")) as store:
        for _ in range(2):
            with pytest.raises(MasterKeyError, match=r"master\.key is not there: each node needs the same one"):
                StoredKeyring(store, given(tmp_path, None), new_id)
        assert not list(tmp_path.iterdir())
        first = StoredKeyring(store, GivenMasterKeyFile(tmp_path / "master.key", is_alone=True), new_id)
        assert StoredKeyring(store, given(tmp_path, None), new_id).lookup("a", "b") == first.lookup("a", "b")
        (tmp_path / "master.key").unlink()
        with pytest.raises(MasterKeyError, match="is there, but its master key"):
            StoredKeyring(store, GivenMasterKeyFile(tmp_path / "master.key", is_alone=True), new_id)


def test_a_rotation_is_ordered_again_until_the_successor_is_in_place(url: str, tmp_path: Path) -> None:
    """By whoever was not told that it is done, as a process has ended: on the same node, or on another."""
    for name in ("one", "other"):
        given(tmp_path / name, MASTER)
        (tmp_path / name / "master.key.next.b").write_bytes(NEXT)
    with closing(PostgresKeyStore(url, "relaxed")) as store, closing(PostgresKeyStore(url, "relaxed")) as beside:
        keyring = StoredKeyring(store, given(tmp_path / "one", None), new_id)
        following = StoredKeyring(beside, given(tmp_path / "other", None), new_id)
        keyring.make_durable([stored := keyring.new_key(None)])
        assert keyring.rotate_master_key() == 2
        for again in (keyring, following, StoredKeyring(store, given(tmp_path / "one", None), new_id)):
            assert again.rotate_master_key() == 2
        (tmp_path / "one" / "master.key").write_bytes(NEXT)
        for ordered in (again, StoredKeyring(store, given(tmp_path / "one", None), new_id)):
            with pytest.raises(SuccessorError, match="here are 0"):
                ordered.rotate_master_key()
            assert ordered.key(stored.key_id)


def test_a_successor_is_taken_by_each_node_that_has_it_and_none_is_taken_by_guessing(url: str, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    with closing(PostgresKeyStore(url, "relaxed")) as first, closing(PostgresKeyStore(url, "relaxed")) as second:
        rotating, following = (
            StoredKeyring(first, given(one, MASTER), new_id),
            StoredKeyring(second, given(other, MASTER), new_id),
        )
        old, new = rotating.new_key(None), following.new_key(None)
        rotating.make_durable([old])
        for name, secret in {"none": None, "a": NEXT[:31], "b": NEXT}.items():
            if secret is not None:
                (one / f"master.key.next.{name}").write_bytes(secret)
            with pytest.raises(SuccessorError):
                rotating.rotate_master_key()
        (one / "master.key.next.a").unlink()
        assert rotating.rotate_master_key() == 2

        for use in (following.catch_up, lambda: following.make_durable([new]), lambda: following.key(old.key_id)):
            with pytest.raises(StorageUnavailableError, match="master key"):
                use()
        (other / "master.key.next.b").write_bytes(NEXT)
        following.make_durable([new])
        for key in (old, new):
            assert rotating.key(key.key_id).fingerprint(b"x") == following.key(key.key_id).fingerprint(b"x")
        for folder in (one, other):
            assert {file.name for file in folder.iterdir()} == {"master.key", "master.key.next.b"}
            (folder / "master.key.next.b").rename(folder / "master.key")
        with pytest.raises(SuccessorError, match="here are 0"):
            rotating.rotate_master_key()
        assert StoredKeyring(first, given(one, None), new_id).key(old.key_id)
