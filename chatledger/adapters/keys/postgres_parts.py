"""The parts of the table of keys in PostgreSQL, each of which can be written anew beside whoever uses it.

What was overwritten stays in a table's file, in dead rows. Vacuuming leaves the bytes where they are, and whole rows
that an old snapshot could see. So the part is copied into a table of its own, which then takes its place.
"""

import time
from collections.abc import Sequence
from threading import Event
from typing import LiteralString, cast

import psycopg

from chatledger.adapters.keys.key_store import GONE
from chatledger.adapters.postgres_connections import BoundedConnection
from chatledger.application.ports.storage import StorageUnavailableError

PARTS = 32

ROWS_AT_ONCE = 10_000

LONGEST_WAIT = "100ms"
"""For those who use the table, as whoever comes to it waits behind; then they get their turn."""

SECONDS_BETWEEN_TRIES = 0.25
SECONDS_TO_TRY = 30.0
TIMES_TO_BUILD = 10

_KEYS = """
CREATE SEQUENCE key_numbers;
CREATE TABLE keys (
    number BIGINT NOT NULL DEFAULT nextval('key_numbers'),
    key_id BYTEA NOT NULL UNIQUE,
    parent_id BYTEA,
    wrapped BYTEA NOT NULL
) PARTITION BY HASH (key_id);
CREATE INDEX keys_by_number ON keys (number);
CREATE INDEX keys_by_parent ON keys (parent_id);
CREATE TABLE overwritten (
    part TEXT PRIMARY KEY,
    number BIGINT NOT NULL DEFAULT nextval('key_numbers')
);
"""
_PART = "CREATE TABLE keys_{part} PARTITION OF keys FOR VALUES WITH (MODULUS {parts}, REMAINDER {part})"
# Else the database would keep some of the keys among what it knows of the table.
_UNWATCHED = "ALTER TABLE {table} ALTER COLUMN wrapped SET STATISTICS 0"

SCHEMA = ";".join(
    [_KEYS, *(_PART.format(part=part, parts=PARTS) for part in range(PARTS)), _UNWATCHED.format(table="keys")]
)

WRITERS_LOCK: LiteralString = (
    "SELECT pg_advisory_xact_lock(hashtextextended('chatledger key store ' || current_setting('search_path'), 0))"
)
"""Nobody else writes into the key store until the end of the transaction."""

_REWRITERS_LOCK: LiteralString = (
    "SELECT pg_advisory_xact_lock(hashtextextended('chatledger key parts ' || current_setting('search_path'), 0))"
)
_NOTE: LiteralString = """
INSERT INTO overwritten (part) SELECT DISTINCT tableoid::regclass::text FROM keys WHERE key_id = ANY(%s)
ON CONFLICT (part) DO UPDATE SET number = excluded.number
"""
_NOTE_ALL: LiteralString = """
INSERT INTO overwritten (part) SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'keys'::regclass
ON CONFLICT (part) DO UPDATE SET number = excluded.number
"""
_BOUNDS: LiteralString = (
    "SELECT pg_get_expr(relpartbound, oid), pg_get_partition_constraintdef(oid) FROM pg_class WHERE oid = %s::regclass"
)
# With the bounds as a check the database need not look at each row when the table takes the part's place.
_BUILD = f"""
CREATE TABLE {{part}}_anew (LIKE {{part}} INCLUDING ALL, CONSTRAINT of_this_part CHECK ({{check}}));
{_UNWATCHED.format(table="{part}_anew")}
"""
_COPY = """
WITH copied AS (
    INSERT INTO {part}_anew (number, key_id, parent_id, wrapped)
    SELECT number, key_id, parent_id, wrapped FROM {part} WHERE number > %s ORDER BY number LIMIT %s
    RETURNING number
) SELECT max(number) FROM copied
"""
_LOCK = "LOCK TABLE ONLY keys, ONLY {part} IN ACCESS EXCLUSIVE MODE"
_IS_OUTDATED: LiteralString = (
    "SELECT coalesce(min(number) > %(known)s + 1 OR bool_or(what = 'rotated'), false) "
    "FROM changes WHERE number > %(known)s"
)
_DESTROY_TOO = """
UPDATE {part}_anew SET wrapped = %s WHERE key_id IN (
    SELECT substr(key_ids, at, 16) FROM changes, generate_series(1, octet_length(key_ids), 16) AS at
    WHERE number > %s AND what = 'destroyed'
)
"""
_SWAP = """
ALTER TABLE keys DETACH PARTITION {part};
ALTER TABLE keys ATTACH PARTITION {part}_anew {bounds};
ALTER TABLE {part}_anew DROP CONSTRAINT of_this_part;
DROP TABLE {part};
ALTER TABLE {part}_anew RENAME TO {part}
"""
_DONE: LiteralString = "DELETE FROM overwritten WHERE part = %s AND number = %s"


def note_overwritten(connection: BoundedConnection, key_ids: Sequence[bytes] | None) -> None:
    """Have the parts that these keys are in, or all, written anew once the transaction is committed, by whoever comes.

    Under the lock of writers.
    """
    if key_ids is None:
        connection.execute(_NOTE_ALL)
    else:
        connection.execute(_NOTE, (list(key_ids),))


def rewrite_overwritten(connection: BoundedConnection, is_over: Event) -> None:
    """Write each part anew that is noted by now, one process at a time. Blocks; nobody waits for it but for moments.

    What a process that ended has left half done is gone with its connection, and noted still.

    Args:
        connection: its own.
        is_over: has it end at the next step.

    Raises:
        psycopg.Error: the database is in trouble, or somebody has been reading the keys for long. The rest is noted.
        StorageUnavailableError: it was to end, or keys are rotated all the time. The rest is noted.
    """
    for (part,) in connection.execute("SELECT part FROM overwritten ORDER BY part").fetchall():
        for _ in range(TIMES_TO_BUILD):
            if _has_rewritten(connection, part, is_over):
                break
        else:
            raise StorageUnavailableError("key store: keys are rotated too often to be rid of the former ones")


def _has_rewritten(connection: BoundedConnection, part: str, is_over: Event) -> bool:
    """False where more has happened to the keys meanwhile than can be told."""
    _require_time(is_over)
    with connection.transaction():
        _lock(connection, _REWRITERS_LOCK, is_over)
        noted = connection.execute("SELECT number FROM overwritten WHERE part = %s", (part,)).fetchone()
        if noted is None:  # another process was at it
            return True
        known = _one(connection, "SELECT coalesce(max(number), 0) FROM changes")
        ((bounds, check),) = connection.execute(_BOUNDS, (part,)).fetchall()
        _run(connection, _BUILD, part=part, check=check)
        last = _copy(connection, part, 0, is_over)
        _lock(connection, f"{WRITERS_LOCK}; {_LOCK.format(part=part)}", is_over)
        if connection.execute(_IS_OUTDATED, {"known": known}).fetchone() == (True,):
            raise psycopg.Rollback
        _copy(connection, part, last, is_over)
        # What these leave in the new file is noted anew, and so goes with the next one.
        connection.execute(cast("LiteralString", _DESTROY_TOO.format(part=part)), (GONE, known))
        _run(connection, _SWAP, part=part, bounds=bounds)
        connection.execute(_DONE, (part, *noted))
        return True
    return False


def _copy(connection: BoundedConnection, part: str, beyond: int, is_over: Event) -> int:
    """Copy the rows beyond a number, as they are now; up to which number."""
    statement = cast("LiteralString", _COPY.format(part=part))
    while (row := connection.execute(statement, (beyond, ROWS_AT_ONCE)).fetchone()) and row[0] is not None:
        beyond = row[0]
        _require_time(is_over)
    return beyond


def _lock(connection: BoundedConnection, locks: str, is_over: Event) -> None:
    """Take locks until the transaction ends, without having anybody wait behind for long.

    Raises:
        psycopg.errors.LockNotAvailable: somebody else has had one of them all the time.
    """
    last_try = time.monotonic() + SECONDS_TO_TRY
    while True:
        is_last = time.monotonic() >= last_try
        try:
            with connection.transaction():
                _run(connection, f"SET LOCAL lock_timeout = '{LONGEST_WAIT}'; {locks}")
                return
        except psycopg.errors.LockNotAvailable:
            if is_last:
                raise
        is_over.wait(SECONDS_BETWEEN_TRIES)
        _require_time(is_over)


def _require_time(is_over: Event) -> None:
    if is_over.is_set():
        raise StorageUnavailableError("key store: it was closed")


def _one(connection: BoundedConnection, query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _run(connection: BoundedConnection, statements: str, **names: str) -> None:
    """Run statements with names of our own, in one round trip."""
    connection.execute(cast("LiteralString", statements.format(**names)))
