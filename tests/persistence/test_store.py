"""What the SQL store does beyond what every store promises: its short cuts change nothing."""

import random
import sqlite3
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from chatledger.application.ports.storage import Change, Delete, Insert, SchemaError, Update, Upsert
from chatledger.application.system_clock import new_id
from tests.persistence.stores import Store, a_row, open_store

ROWS = [new_id() for _ in range(3)]


def random_changes(dice: random.Random) -> list[Change]:
    """Any changes that succeed when they are made one after the other: only absent rows are inserted."""
    present: set[UUID] = set()
    changes: list[Change] = []
    for _ in range(dice.randint(1, 12)):
        row_id = dice.choice(ROWS)
        key = {"message_id": row_id}
        values = {"attempt": dice.randint(1, 2), "expires_at": dice.randint(1, 9)}
        row = key | {"worker": "one"} | values
        kinds = ["update", "update by another key", "upsert", "delete", "delete by another key"]
        kind = dice.choice([*kinds, *(["insert"] * 3 if row_id not in present else [])])
        if kind == "insert":
            changes.append(Insert("leases", row))
            present.add(row_id)
        elif kind == "update":
            changes.append(Update("leases", key, values))
        elif kind == "update by another key":
            changes.append(Update("leases", {"worker": "one"}, values))
        elif kind == "upsert":
            changes.append(Upsert("leases", key, row, {"expires_at": 0}))
            present.add(row_id)
        elif kind == "delete":
            changes.append(Delete("leases", key))
            present.discard(row_id)
        else:
            # Whether it is gone now depends on the attempt: taken as present, so that it is not inserted again.
            changes.append(Delete("leases", key | {"attempt": 1}))
    return changes


def test_changes_made_together_come_to_the_same_as_one_after_the_other(store: Store, tmp_path: Path) -> None:
    dice = random.Random(11)
    (tmp_path / "other").mkdir()
    with open_store(tmp_path / "other") as other:
        for _ in range(300):
            changes = random_changes(dice)
            with store.ledger.write() as transaction:
                transaction.clear(["leases"])
                transaction.apply(changes)
            with other.ledger.write() as transaction:
                transaction.clear(["leases"])
                for change in changes:
                    transaction.apply([change])
            together, apart = (each.query("SELECT * FROM leases ORDER BY message_id") for each in (store, other))
            assert together == apart, changes


def test_a_row_is_inserted_once(store: Store) -> None:
    row = {"message_id": new_id(), "worker": "one", "attempt": 1, "expires_at": 1}

    def insert_twice() -> None:
        with store.ledger.write() as transaction:
            transaction.apply([Insert("leases", row), Insert("leases", row)])

    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError), match=r"(?i)unique"):
        insert_twice()
    assert store.query("SELECT * FROM leases") == []


def test_type_and_stream_numbers_are_given_once_whoever_gives_them(store: Store) -> None:
    recorder_like = [store.ledger, type(store.ledger)(store.writing, store.ledger._reader)]
    position = 0
    for round_ in range(6):
        for number, ledger in enumerate(recorder_like):
            with ledger.write() as transaction:
                position += 1
                transaction.append([a_row(position, new_id(), 1, name=f"Type{round_ + number}", schema=1 + round_ % 2)])
    numbers = [number for (number,) in store.query("SELECT number FROM event_types ORDER BY number")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [number for (number,) in store.query("SELECT number FROM streams ORDER BY number")] == list(range(1, 13))
    with store.ledger.write() as transaction:
        assert [row.name for row in transaction.read_log(0, 3)] == ["Type0", "Type1", "Type1"]


async def test_other_read_models_than_this_releases_are_refused_with_the_command_that_helps(store: Store) -> None:
    store.execute("UPDATE read_model_versions SET version = version + 1")
    with pytest.raises(SchemaError, match="`chatledger rebuild`"):
        await store.ledger.head()


def test_a_reading_connection_cannot_write(store: Store) -> None:
    with pytest.raises(DBAPIError, match=r"readonly|read-only"):
        store.query("DELETE FROM head")
