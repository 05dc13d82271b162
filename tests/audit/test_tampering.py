"""Whoever changes a ledger is found out, and the first event that is not what was signed is named.

The ledger is ``--events`` long, and stands in a SQLite file that is copied for each change.
"""

import random
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from chatledger.adapters.cli.main import main
from chatledger.adapters.persistence.tables import EVENTS
from chatledger.application.audit.findings import Finding
from chatledger.application.audit.notes import Checkpoint, Note
from chatledger.application.audit.verification import Report
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.storage import EventRow
from tests.audit.ledgers import (
    Signer,
    Trail,
    changed,
    keep_trail,
    made_rows,
    sizes_of,
    trail_of,
    url_of,
    verified,
    write_ledger,
)

pytestmark = pytest.mark.audit

NOTARY, STRANGER = Signer(1), Signer(2)
FLIPS = 3
"""In each column; one more for each fifty thousand events."""


REWRITTEN = ("version", "event_id", "recorded_at", "public", "sealed", "context_position")


class Prepared(msgspec.Struct, frozen=True):
    """A sound ledger, and what is known of it from elsewhere."""

    file: Path
    count: int
    trail: Trail
    rows: list[EventRow]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Prepared:
    count = request.config.getoption("--events")
    file = tmp_path_factory.mktemp("sound") / "ledger.db"
    trail = write_ledger(url_of(file), count, NOTARY)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # so that the file is all there is to copy
    return Prepared(file, count, trail, list(made_rows(count, NOTARY)))


class Copy:
    """A copy of the ledger, to be tampered with."""

    def __init__(self, prepared: Prepared, file: Path) -> None:
        shutil.copyfile(prepared.file, file)
        self.file = file
        self.prepared = prepared

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            yield connection

    def verified(self, *keys: Any, since: Sequence[bytes] = (), incarnation: UUID | None = None) -> Report:
        return verified(url_of(self.file), *keys, since=since, incarnation=incarnation)

    def leave_as_made(self, rows: Sequence[EventRow]) -> None:
        """Put these rows where those of their positions are, with leaves of their own."""
        with self.changing() as connection:
            for row in rows:
                values = {name: getattr(row, name) for name in REWRITTEN} | {"leaf": leaf_hash(row)}
                values["event_id"] = row.event_id.bytes
                columns = ", ".join(f"{name} = ?" for name in values)
                connection.execute(f"UPDATE events SET {columns} WHERE position = ?", (*values.values(), row.position))


@pytest.fixture
def copy(prepared: Prepared, tmp_path: Path) -> Copy:
    return Copy(prepared, tmp_path / "ledger.db")


def kinds(report: Report) -> set[str]:
    return {finding.kind for finding in report.findings}


def the_only(report: Report) -> Finding:
    assert report.problems == 1, report.findings
    return report.findings[0]


def at(position: int) -> tuple[int, int]:
    return position, position


def test_a_sound_ledger_is_intact(prepared: Prepared) -> None:
    report = verified(url_of(prepared.file), NOTARY.key, since=list(prepared.trail.notes.values()))
    assert (report.problems, report.events, report.signed) == (0, prepared.count, prepared.count)
    assert report.checkpoints == 2 * len(prepared.trail.notes)


# Any byte of any column


def flipped(value: Any, choose: random.Random) -> Any:
    """The value with one bit of one of its bytes the other way round; where there is none, with a byte."""
    match value:
        case int():
            return value ^ 1 << choose.randrange(62)
        case bytes() if value:
            place = choose.randrange(len(value))
            return value[:place] + bytes([value[place] ^ 1 << choose.randrange(8)]) + value[place + 1 :]
        case str() if value:
            place = choose.randrange(len(value))
            return value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
        case _:
            return b"\x00"


def flip(copy: Copy, table: str, column: str, rowid: int, key: str, choose: random.Random) -> None:
    with copy.changing() as connection:
        ((value,),) = connection.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (rowid,))
        # What the database itself refuses, another bit does.
        sql = f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {key} = ?"
        while not connection.execute(sql, (flipped(value, choose), rowid)).rowcount:
            pass


EVENT_COLUMNS = [column.name for column in EVENTS.columns]


def chosen(prepared: Prepared, seed: int | str) -> Iterator[tuple[int, random.Random]]:
    """Some positions, each with what chooses the rest."""
    choose = random.Random(seed)
    for _ in range(FLIPS + prepared.count // 50_000):
        yield choose.randrange(1, prepared.count + 1), choose


@pytest.mark.parametrize("column", EVENT_COLUMNS)
def test_any_byte_of_an_event(column: str, prepared: Prepared, tmp_path: Path) -> None:
    for position, choose in chosen(prepared, column):
        copy = Copy(prepared, tmp_path / "ledger.db")
        flip(copy, "events", column, position, "position", choose)
        assert copy.verified().first_bad == at(position)


def test_an_algorithm_is_not_counted_from_the_end(copy: Copy) -> None:
    sealed = next(row.position for row in copy.prepared.rows[500:] if row.sealed)
    with copy.changing() as connection:
        connection.execute("UPDATE events SET algorithm = -1 WHERE position = ?", (sealed,))
    assert copy.verified().first_bad == at(sealed)


@pytest.mark.parametrize("column", ["number", "stream_id", "category", "key_id"])
def test_any_byte_of_a_stream(column: str, prepared: Prepared, tmp_path: Path) -> None:
    for position, choose in chosen(prepared, column):
        copy = Copy(prepared, tmp_path / "ledger.db")
        with copy.changing() as connection:
            ((number,),) = connection.execute("SELECT stream FROM events WHERE position = ?", (position,))
            ((first,),) = connection.execute("SELECT min(position) FROM events WHERE stream = ?", (number,))
        flip(copy, "streams", column, number, "number", choose)
        assert copy.verified().first_bad == at(first)


@pytest.mark.parametrize("column", ["number", "name", "schema"])
def test_any_byte_of_an_event_type(column: str, prepared: Prepared, tmp_path: Path) -> None:
    for position, choose in chosen(prepared, column):
        copy = Copy(prepared, tmp_path / "ledger.db")
        with copy.changing() as connection:
            ((number,),) = connection.execute("SELECT type FROM events WHERE position = ?", (position,))
            ((first,),) = connection.execute("SELECT min(position) FROM events WHERE type = ?", (number,))
        flip(copy, "event_types", column, number, "number", choose)
        assert copy.verified().first_bad == at(first)


@pytest.mark.parametrize("column", ["position", "recorded_at", "last_stream", "incarnation"])
def test_any_byte_of_the_head(column: str, prepared: Prepared, tmp_path: Path) -> None:
    """Which ledger it is, is known from its key store alone."""
    with closing(sqlite3.connect(prepared.file)) as connection:
        ((incarnation,),) = connection.execute("SELECT incarnation FROM head")
    for _, choose in chosen(prepared, column):
        copy = Copy(prepared, tmp_path / "ledger.db")
        flip(copy, "head", column, 1, "singleton", choose)
        assert kinds(copy.verified(incarnation=UUID(bytes=incarnation))) in ({"head"}, {"missing"})


@pytest.mark.parametrize("column", ["number", "origin", "size", "note"])
def test_any_byte_of_a_checkpoint(column: str, prepared: Prepared, tmp_path: Path) -> None:
    for number, choose in chosen(prepared, column):
        copy = Copy(prepared, tmp_path / "ledger.db")
        flip(copy, "checkpoints", column, 1 + number % len(prepared.trail.notes), "number", choose)
        report = copy.verified()
        assert kinds(report) <= {"checkpoint", "signature", "unsigned"}, report.findings
        assert report.problems
        assert report.first_bad is None  # no event is wrong


@pytest.mark.parametrize("column", ["level", "number", "root"])
def test_any_byte_of_a_tile(column: str, prepared: Prepared, tmp_path: Path) -> None:
    for number, choose in chosen(prepared, column):
        copy = Copy(prepared, tmp_path / "ledger.db")
        flip(copy, "tiles", column, number % (prepared.count // 256), "level = 1 AND number", choose)
        report = copy.verified()
        assert kinds(report) == {"tile"}
        assert report.first_bad is None  # no event is wrong


COVERED = {
    "events": EVENT_COLUMNS,
    "streams": ["number", "stream_id", "category", "key_id"],
    "event_types": ["number", "name", "schema"],
    "head": ["position", "recorded_at", "last_stream"],
    "checkpoints": ["number", "origin", "size", "note"],
    "tiles": ["level", "number", "root"],
}
"""What verifying covers; the rest tells how far others have come."""


def covered_rows(file: Path) -> list[list[Any]]:
    with closing(sqlite3.connect(file)) as connection:
        connection.text_factory = bytes
        return [
            connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2").fetchall()
            for table, columns in COVERED.items()
        ]


def test_any_byte_of_the_file(prepared: Prepared, tmp_path: Path) -> None:
    """Wherever a disk errs: what reads otherwise is found, and no damage is more than a refusal."""
    sound, choose = covered_rows(prepared.file), random.Random("file")
    for number in range(20 * FLIPS):
        copy = Copy(prepared, tmp_path / f"{number}.db")
        content = bytearray(copy.file.read_bytes())
        content[choose.randrange(100, len(content))] ^= 1 << choose.randrange(8)
        copy.file.write_bytes(content)
        try:
            reads_otherwise = covered_rows(copy.file) != sound
        except sqlite3.DatabaseError:
            reads_otherwise = True
        code = main(["verify", str(copy.file)])
        assert code in ({1} if reads_otherwise else {0, 1}), number
        copy.file.unlink()


# Whole events


@pytest.mark.parametrize("is_last", [False, True])
def test_a_dropped_event(copy: Copy, is_last: bool) -> None:
    position = copy.prepared.count if is_last else 700
    with copy.changing() as connection:
        connection.execute("DELETE FROM events WHERE position = ?", (position,))
    assert copy.verified().first_bad == at(position)


def test_a_dropped_event_whose_place_the_later_ones_take(copy: Copy) -> None:
    with copy.changing() as connection:
        connection.execute("DELETE FROM events WHERE position = 700")
        connection.execute("UPDATE events SET position = -position WHERE position > 700")
        connection.execute("UPDATE events SET position = -position - 1 WHERE position < 0")
        connection.execute("UPDATE head SET position = position - 1")
    assert copy.verified().first_bad == at(700)


def test_two_events_in_each_others_place(copy: Copy) -> None:
    with copy.changing() as connection:
        connection.execute("UPDATE events SET position = -1 WHERE position = 700")
        connection.execute("UPDATE events SET position = 700 WHERE position = 900")
        connection.execute("UPDATE events SET position = 900 WHERE position = -1")
    assert copy.verified().first_bad == at(700)


@pytest.mark.parametrize("at_end", [False, True])
def test_a_duplicated_event(copy: Copy, at_end: bool) -> None:
    place = copy.prepared.count + 1 if at_end else 701
    with copy.changing() as connection:
        connection.execute("UPDATE events SET position = -position WHERE position >= ?", (place,))
        connection.execute("UPDATE events SET position = 1 - position WHERE position < 0")
        columns = ", ".join(EVENT_COLUMNS[3:])
        sql = f"INSERT INTO events SELECT ?, stream, 1000, {columns} FROM events WHERE position = 700"
        connection.execute(sql, (place,))
        connection.execute("UPDATE head SET position = position + 1")
    assert copy.verified().first_bad == at(place)


# The end cut off


def cut(copy: Copy, last: int, *tables: str) -> None:
    """Cut all after this position off, and what the tables say of it."""
    with copy.changing() as connection:
        connection.execute("DELETE FROM events WHERE position > ?", (last,))
        if "head" in tables:
            connection.execute("DELETE FROM streams WHERE number NOT IN (SELECT stream FROM events)")
            connection.execute("DELETE FROM event_types WHERE number NOT IN (SELECT type FROM events)")
            ((now,),) = connection.execute("SELECT max(recorded_at) FROM events")
            sql = "UPDATE head SET position = ?, recorded_at = ?, last_stream = (SELECT max(number) FROM streams)"
            connection.execute(sql, (last, now))
        if "checkpoints" in tables:
            connection.execute("DELETE FROM checkpoints WHERE size > ?", (last,))
            connection.execute("DELETE FROM tiles WHERE (number + 1) << (8 * level) > ?", (last,))


@pytest.mark.parametrize("tables", [(), ("head",)])
def test_an_end_that_was_cut_off(copy: Copy, tables: tuple[str, ...]) -> None:
    cut(copy, 1_234, *tables)
    assert copy.verified().first_bad == at(1_235)


def test_an_end_that_was_cut_off_with_its_checkpoints_shows_from_outside_alone(copy: Copy) -> None:
    end = sizes_of(copy.prepared.count)[1] + 200
    cut(copy, end, "head", "checkpoints")
    before = copy.verified(NOTARY.key)
    assert before.is_intact
    assert any("cut off at the end" in said for said in before.unchecked)
    *_, newest = copy.prepared.trail.notes.values()
    assert copy.verified(since=[newest]).first_bad == at(end + 1)


def test_the_end_is_missing_whatever_the_ledger_calls_itself_and_other_logs_are_passed_over(copy: Copy) -> None:
    """A checkpoint from outside is of a log that a given key, or the key store, names; else it is held against all."""
    *_, newest = copy.prepared.trail.notes.values()
    other, incarnation = NOTARY.checkpoint(copy.prepared.count + 1, bytes(32), "example.com/before"), UUID(int=1)
    passed_over = "1 checkpoints that were kept apart and are of other logs, example.com/before"
    for report in (copy.verified(NOTARY.key, since=[newest, other]), copy.verified(NOTARY.key, since=[other])):
        assert report.is_intact
        assert any(passed_over in said for said in report.unchecked)
    assert not copy.verified(since=[other]).is_intact
    assert kinds(copy.verified(since=[other], incarnation=incarnation)) == {"head"}
    own = NOTARY.checkpoint(copy.prepared.count + 1, bytes(32), f"example.com/{incarnation}")
    assert kinds(copy.verified(since=[own], incarnation=incarnation)) == {"head", "missing"}


# Whoever makes the leaves anew


def rewritten(prepared: Prepared, position: int) -> EventRow:
    row = prepared.rows[position - 1]
    return msgspec.structs.replace(row, public=b'{"attempt":2}')


@pytest.mark.parametrize(
    ("field", "kind"), [("version", "version"), ("recorded_at", "time"), ("context_position", "context")]
)
def test_what_contradicts_other_rows_is_named_exactly_even_with_a_new_leaf(field: str, kind: str, copy: Copy) -> None:
    before, row = [row for row in copy.prepared.rows[600:] if row.name == "AnswerChunkAppended"][:2]
    wrong = {"version": row.version + 100, "recorded_at": row.recorded_at - 10**12, "context_position": before.position}
    copy.leave_as_made([msgspec.structs.replace(row, **{field: wrong[field]})])
    report = copy.verified()
    assert report.first_bad == at(row.position)
    assert kind in kinds(report)


def test_a_changed_event_with_a_new_leaf_is_found_in_its_tile(copy: Copy) -> None:
    copy.leave_as_made([rewritten(copy.prepared, 700)])
    finding = the_only(copy.verified())
    assert (finding.kind, finding.first, finding.last) == ("tree", 513, 768)


def test_several_of_them_are_found_each_in_its_tile(copy: Copy) -> None:
    copy.leave_as_made([rewritten(copy.prepared, position) for position in (300, 700, 1_200)])
    report = copy.verified()
    assert [(finding.first, finding.last) for finding in report.findings] == [(257, 512), (513, 768), (1_025, 1_280)]
    assert report.first_bad == (257, 512)


def test_with_new_tiles_as_well_it_is_found_between_two_checkpoints(copy: Copy) -> None:
    changed = [rewritten(copy.prepared, 700)]
    copy.leave_as_made(changed)
    leaves = [row.leaf for row in copy.prepared.rows]
    leaves[699] = leaf_hash(changed[0])
    tiles = trail_of(leaves, [len(leaves)], STRANGER).tiles
    with copy.changing() as connection:
        connection.executemany(
            "UPDATE tiles SET root = ? WHERE level = ? AND number = ?",
            [(root, *place) for place, root in tiles.items()],
        )
    first, second, _ = sizes_of(copy.prepared.count)
    finding = next(each for each in copy.verified().findings if each.kind == "tree")
    assert (finding.first, finding.last) == ((first + 1, second) if first < 700 <= second else (1, first))


def test_a_ledger_without_any_checkpoint_is_not_what_a_key_has_signed(copy: Copy) -> None:
    with copy.changing() as connection:
        connection.execute("DELETE FROM checkpoints")
    assert copy.verified().is_intact  # and it says that nothing covers the events
    finding = the_only(copy.verified(NOTARY.key))
    assert (finding.kind, finding.first, finding.last) == ("unsigned", 1, copy.prepared.count)


def test_what_no_checkpoint_covers_is_said_not_to_be_proved(copy: Copy) -> None:
    with copy.changing() as connection:
        connection.execute("DELETE FROM checkpoints WHERE size = (SELECT max(size) FROM checkpoints)")
    covered = sizes_of(copy.prepared.count)[1]
    copy.leave_as_made([rewritten(copy.prepared, covered + 3)])
    report = copy.verified(NOTARY.key)
    assert report.signed == covered
    assert f"events {covered + 1:,} to {copy.prepared.count:,}: no signed checkpoint covers them" in report.unchecked


# A tree that somebody else has signed


@pytest.fixture
def forged(copy: Copy) -> Copy:
    """All of it made anew, with another event at 700, and signed by somebody else's key."""
    rows = list(made_rows(copy.prepared.count, STRANGER))
    rows[699] = msgspec.structs.replace(rows[699], public=b'{"attempt":2}')
    copy.leave_as_made(rows)
    trail = trail_of([leaf_hash(row) for row in rows], sizes_of(copy.prepared.count), STRANGER)
    with changed(url_of(copy.file)) as connection:
        keep_trail(connection, trail)
    return copy


def test_a_forged_tree_is_sound_in_itself_and_the_report_says_what_that_proves(forged: Copy) -> None:
    report = forged.verified()
    assert report.is_intact
    assert report.keys == [str(STRANGER.key)]
    assert any("taken from the ledger itself" in said for said in report.unchecked)


def test_a_forged_tree_is_found_by_the_notarys_key(forged: Copy) -> None:
    finding = the_only(forged.verified(NOTARY.key))
    assert (finding.kind, finding.first, finding.last) == ("unsigned", 1, forged.prepared.count)


def test_a_forged_tree_is_found_by_a_checkpoint_from_outside(forged: Copy) -> None:
    size, note = next(iter(forged.prepared.trail.notes.items()))
    finding = the_only(forged.verified(since=[note]))
    assert (finding.kind, finding.first, finding.last) == ("tree", 1, size)


def test_what_was_signed_for_another_log_is_no_signature_for_this_one(copy: Copy) -> None:
    """A note's text does not say whose key has signed it, so anybody may put this log's key below it."""
    size, note = list(copy.prepared.trail.notes.items())[-1]
    other = NOTARY.checkpoint(size, Checkpoint.parse(Note.parse(note).text).root, "example.com/other")
    with copy.changing() as connection:
        connection.execute(
            "UPDATE checkpoints SET origin = 'example.com/other', note = ? WHERE size = ?", (other.decode(), size)
        )
    report = copy.verified(NOTARY.key)
    assert report.signed < size
    assert [finding.kind for finding in report.findings] == ["signature"]
    assert "signs nothing of another log" in report.findings[0].text


def test_a_branch_that_somebody_else_has_signed_is_found_where_it_begins(copy: Copy) -> None:
    trusted, *rest = sizes_of(copy.prepared.count)
    forged = trail_of([row.leaf for row in copy.prepared.rows], [trusted, *rest], STRANGER)
    with copy.changing() as connection:
        for size in rest:
            sql = "UPDATE checkpoints SET note = ? WHERE size = ?"
            connection.execute(sql, (forged.notes[size].decode(), size))
    report = copy.verified(NOTARY.key)
    assert kinds(report) == {"signature", "unsigned"}
    assert report.first_bad == (trusted + 1, copy.prepared.count)
    assert kinds(copy.verified()) == {"signature"}  # by itself it shows that nobody has introduced such a key
