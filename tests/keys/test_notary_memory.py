"""What the notary remembers, in the key store's file."""

from contextlib import closing
from pathlib import Path

from chatledger.adapters.keys.notary_memory import SqliteNotaryMemory
from chatledger.adapters.keys.store import SqliteKeyring
from chatledger.application.system_clock import new_id
from tests.support.master_keys import master_key

MASTER = bytes(range(32))


def test_the_last_note_of_each_log_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    with closing(SqliteKeyring(path, master_key(path.parent, MASTER), new_id)) as keyring:
        memory = SqliteNotaryMemory(keyring.file)
        assert memory.recall("log/one") is None
        for origin, note in (("log/one", b"first"), ("log/two", b"other"), ("log/one", b"second")):
            memory.remember(origin, note)
        assert memory.all_notes() == [b"second", b"other"]
    with closing(SqliteKeyring(path, master_key(path.parent, MASTER), new_id)) as keyring:
        memory = SqliteNotaryMemory(keyring.file)
        assert (memory.recall("log/one"), memory.recall("log/two")) == (b"second", b"other")


def test_a_key_store_is_of_the_ledger_that_came_first_until_somebody_says_otherwise(tmp_path: Path) -> None:
    path, (first, second) = tmp_path / "keys.db", (new_id(), new_id())
    with closing(SqliteKeyring(path, master_key(path.parent, MASTER), new_id)) as keyring:
        memory = SqliteNotaryMemory(keyring.file)
        assert memory.incarnation() is None
        assert (memory.settle(first), memory.settle(second)) == (first, first)
        memory.move(second)
    with closing(SqliteKeyring(path, master_key(path.parent, MASTER), new_id)) as keyring:
        assert SqliteNotaryMemory(keyring.file).settle(first) == second
