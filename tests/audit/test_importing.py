"""An import gives the ledger that was exported: rows, read models and tree, on whichever database."""

import io
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from eventsourcing.persistence import Notification, StoredEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatledger.application.audit.export_lines import ExportScope, row_of
from chatledger.application.audit.export_reader import BadExportError
from chatledger.application.audit.importing import ImportRefusedError, check_export
from chatledger.application.audit.merkle import CompactRange
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.storage import EventRow, SchemaError
from chatledger.application.system_clock import new_id
from tests.audit.exports import (
    an_export,
    busy_store,
    export_to,
    import_from,
    importing_of,
    nothing,
    some_rows,
    stored_rows,
    take_keys,
)
from tests.persistence.stores import Store, open_store
from tests.persistence.test_rebuild import read_models
from tests.support.databases import ON_SQLITE, POSTGRES

NewPlace = Callable[[str], str | None]


def root_of(store: Store) -> bytes:
    tree = CompactRange()
    for row in stored_rows(store):
        tree.push(row.leaf)
    return tree.root()


def shop_of(store: Store) -> list[Notification]:
    """What an application on the library has on the ledger."""
    return list(store.recorder().select_notifications(None, 10))


@pytest.fixture
def new_place(request: pytest.FixtureRequest) -> Iterator[NewPlace]:
    """Where an empty ledger can be, in a database of this kind."""
    with ExitStack() as dropping:

        def new(kind: str) -> str | None:
            if kind == "sqlite":
                return None
            server = request.getfixturevalue("postgres_server")
            url: str = server.fresh_database(request.getfixturevalue("migrated_database"))
            dropping.callback(server.drop_database, url)
            return url

        yield new


@pytest.mark.audit
@pytest.mark.parametrize(
    ("source_kind", "target_kind", "share"),
    [
        ("sqlite", "sqlite", 3),
        pytest.param("sqlite", "postgres", 1, marks=POSTGRES.marks),
        pytest.param("postgres", "sqlite", 1, marks=POSTGRES.marks),
    ],
)
def test_what_is_exported_and_imported_is_the_same(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    new_place: NewPlace,
    source_kind: str,
    target_kind: str,
    share: int,
) -> None:
    examples = share * request.config.getoption("--histories")
    numbers = itertools.count()

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(seed=st.integers(0, 10_000), steps=st.integers(5, 60))
    def check(seed: int, steps: int) -> None:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        with busy_store(folder, new_place(source_kind), seed, steps) as source:
            source.recorder().insert_events([StoredEvent(new_id(), 1, "topic", b"\x00\xff\n")])
            source.keyring.destroy([UUID(bytes=key_id) for (key_id,) in source.query("SELECT key_id FROM erased_keys")])
            path, again = folder / "ledger.jsonl", folder / "again.jsonl"
            export_to(path, source)
            take_keys(folder, folder / "target")
            with open_store(folder / "target", new_place(target_kind)) as target:
                assert import_from(path, target) == len(stored_rows(source))
                assert stored_rows(target) == stored_rows(source)
                assert read_models(target) == read_models(source)
                assert root_of(target) == root_of(source)
                export_to(again, target)
                ours, theirs = (file.read_bytes().splitlines() for file in (path, again))
                assert [row_of(line)[0] for line in theirs[1:-1]] == [row_of(line)[0] for line in ours[1:-1]]
                assert shop_of(target) == shop_of(source) != []
                assert source.query("SELECT incarnation FROM head") != target.query("SELECT incarnation FROM head")

    check()


@pytest.fixture
def source(tmp_path: Path, database_url: str | None) -> Iterator[Store]:
    (tmp_path / "source").mkdir()
    with busy_store(tmp_path / "source", database_url, steps=40) as store:
        yield store


@pytest.fixture
def path(source: Store, tmp_path: Path) -> Path:
    export_to(tmp_path / "ledger.jsonl", source)
    return tmp_path / "ledger.jsonl"


@pytest.fixture
def target(tmp_path: Path, source: Store) -> Iterator[Store]:
    take_keys(tmp_path / "source", tmp_path / "target")
    with open_store(tmp_path / "target") as store:
        yield store


class Interrupted(Exception):  # noqa: N818 - it is none
    """What ends an import in the middle."""


def interrupt(path: Path, store: Store, after: int) -> None:
    """Import, but for what comes after so many commits."""
    importing = importing_of(store)
    with path.open("rb") as file:
        checked = check_export(file, nothing)
    importing.begin(checked.begun)
    commits = itertools.count(1)

    def stop(_done: int, _total: int) -> None:
        if next(commits) == after:
            raise Interrupted

    with path.open("rb") as file, pytest.raises(Interrupted):
        importing.run(file, checked, stop)


@pytest.mark.parametrize("commits", [1, 4])
def test_an_interrupted_import_goes_on_where_it_ended(
    source: Store, path: Path, target: Store, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    monkeypatch.setattr("chatledger.application.audit.importing.EVENTS_PER_COMMIT", 10)
    interrupt(path, target, commits)
    assert target.positions()[-1] == 10 * commits
    with target.ledger.write() as transaction, pytest.raises(SchemaError, match="interrupted at"):
        transaction.head()

    assert import_from(path, target) == len(stored_rows(source)) - 10 * commits
    assert stored_rows(target) == stored_rows(source)
    assert read_models(target) == read_models(source)
    with target.ledger.write() as transaction:
        assert transaction.head().position == len(stored_rows(source))


@ON_SQLITE
def test_another_export_does_not_go_on_with_it(
    source: Store, path: Path, target: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatledger.application.audit.importing.EVENTS_PER_COMMIT", 10)
    interrupt(path, target, 2)
    before = stored_rows(target)
    longer = tmp_path / "longer.jsonl"
    source.recorder().insert_events([StoredEvent(new_id(), 1, "topic", b"")])
    export_to(longer, source)
    with pytest.raises(ImportRefusedError, match="another export"):
        import_from(longer, target)

    rows = stored_rows(source)[:-1]
    changed = msgspec.structs.replace(rows[12], event_id=new_id())
    rows[12] = msgspec.structs.replace(changed, leaf=leaf_hash(changed))
    forged = tmp_path / "forged.jsonl"
    forged.write_bytes(b"".join(an_export(rows)))
    with pytest.raises(ImportRefusedError, match="not of this export"):
        import_from(forged, target)
    assert stored_rows(target) == before


@ON_SQLITE
def test_endpoints_are_told_of_what_comes_after_it(source: Store, path: Path, target: Store) -> None:
    import_from(path, target)
    endpoints = source.query("SELECT endpoint_id FROM webhooks ORDER BY endpoint_id")
    assert endpoints
    last = len(stored_rows(source))
    progress = target.query("SELECT endpoint_id, position FROM webhook_progress ORDER BY endpoint_id")
    assert progress == [(endpoint_id, last) for (endpoint_id,) in endpoints]


@ON_SQLITE
def test_only_an_empty_ledger_takes_an_import(path: Path, source: Store, target: Store) -> None:
    import_from(path, target)
    before = stored_rows(target)
    for store in (source, target):
        with pytest.raises(ImportRefusedError, match="only an empty one"):
            import_from(path, store)
    assert stored_rows(target) == before


@ON_SQLITE
def test_an_empty_ledger_can_be_imported(tmp_path: Path, target: Store) -> None:
    with open_store(tmp_path) as empty:
        export_to(tmp_path / "empty.jsonl", empty)
    assert import_from(tmp_path / "empty.jsonl", target) == 0
    assert target.positions() == []


@ON_SQLITE
def test_a_part_is_not_imported(source: Store, target: Store, tmp_path: Path) -> None:
    ((app_id,),) = source.query("SELECT app_id FROM apps LIMIT 1")
    export_to(tmp_path / "part.jsonl", source, ExportScope(app_id=UUID(bytes=app_id)))
    with pytest.raises(ImportRefusedError, match="part of a ledger"):
        import_from(tmp_path / "part.jsonl", target)
    assert target.positions() == []


@ON_SQLITE
def test_without_the_keys_all_reads_as_erased(source: Store, path: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    with open_store(tmp_path / "bare") as bare:
        import_from(path, bare)
        assert stored_rows(bare) == stored_rows(source)
        assert {name for (name,) in bare.query("SELECT name FROM apps")} == {b""}
        assert len(bare.query("SELECT 1 FROM messages")) == len(source.query("SELECT 1 FROM messages"))


# Files that are not what was exported


Spoil = Callable[[list[EventRow]], list[EventRow]]


def with_row(index: int, **changed: Any) -> Spoil:
    def spoil(rows: list[EventRow]) -> list[EventRow]:
        row = msgspec.structs.replace(rows[index], **changed)
        return [*rows[:index], msgspec.structs.replace(row, leaf=leaf_hash(row)), *rows[index + 1 :]]

    return spoil


FORGED: dict[str, tuple[Spoil, str]] = {
    "a version left out": (with_row(4, version=9), "line 6 .position 5.: the event is version 9"),
    "a version twice": (with_row(4, version=4), "line 6 .position 5.: the event is version 4"),
    "another key": (with_row(4, key_id=new_id()), "line 6 .position 5.: .* another category or key"),
    "another category": (with_row(4, category="app"), "line 6 .position 5.: .* another category or key"),
    "an earlier time": (with_row(4, recorded_at=5), "line 6 .position 5.: the event was recorded before"),
    "no context": (with_row(4, context=None), "line 6 .position 5.: the event has no context"),
    "the context of nobody": (
        with_row(4, context=None, context_position=77),
        "line 6 .position 5.: the event has no context",
    ),
    "a context for others": (with_row(4, context_position=3), "line 6 .position 5.: the event has no context"),
    "a type of a newer release": (with_row(4, name="MoonPhased"), "does not know MoonPhased"),
    "a schema of a newer release": (with_row(4, schema=2), "does not know StopRequested in version 2"),
}


@pytest.mark.parametrize("case", FORGED)
def test_rows_that_no_ledger_has_are_refused_before_anything_is_written(case: str) -> None:
    spoil, words = FORGED[case]
    forged = io.BytesIO(b"".join(an_export(spoil(some_rows(8)))))
    with pytest.raises((BadExportError, ImportRefusedError), match=words):
        check_export(forged, nothing)


@given(data=st.data(), kind=st.sampled_from(["changed", "dropped", "doubled", "swapped", "cut"]))
@settings(max_examples=25, deadline=None)
def test_of_a_spoiled_file_the_first_bad_position_is_named(data: st.DataObject, kind: str) -> None:
    lines = an_export(some_rows(12))
    first, second = sorted(data.draw(st.lists(st.integers(1, 12), min_size=2, max_size=2, unique=True)))
    line, bad = lines[first], first
    place = data.draw(st.integers(0, len(line) - 1))
    if kind == "changed":
        byte = data.draw(st.integers(0, 255).filter(lambda value: value != line[place]))
        lines[first] = line[:place] + bytes([byte]) + line[place + 1 :]
    elif kind == "dropped":
        del lines[first]
    elif kind == "doubled":
        lines.insert(first, line)
        bad = first + 1
    elif kind == "swapped":
        lines[first], lines[second] = lines[second], line
    else:
        lines = [*lines[:first], line[:place]]
    with pytest.raises(BadExportError) as caught:
        check_export(io.BytesIO(b"".join(lines)), nothing)
    assert (caught.value.line, caught.value.position) == (bad + 1, bad)


@ON_SQLITE
def test_a_file_that_changes_meanwhile_stops_the_import(source: Store, path: Path, target: Store) -> None:
    importing = importing_of(target)
    with path.open("rb") as file:
        checked = check_export(file, nothing)
    importing.begin(checked.begun)
    content = path.read_bytes().splitlines(keepends=True)
    content[-2] = content[-2].replace(b'"version":', b'"version":1')
    with pytest.raises(BadExportError, match=f"position {len(stored_rows(source))}"):
        importing.run(io.BytesIO(b"".join(content)), checked, nothing)
    assert import_from(path, target) >= 0
    assert stored_rows(target) == stored_rows(source)


@pytest.mark.parametrize("swap", ["an event", "the root", "the end"])
def test_a_file_that_was_swapped_meanwhile_is_never_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: str
) -> None:
    """The last commit holds as many events as a commit can: even so it waits for the end of the file."""
    monkeypatch.setattr("chatledger.application.audit.importing.EVENTS_PER_COMMIT", 3)
    rows = some_rows(6)
    lines = an_export(rows)
    checked = check_export(io.BytesIO(b"".join(lines)), nothing)
    if swap == "an event":
        changed = msgspec.structs.replace(rows[4], event_id=new_id())
        rows[4] = msgspec.structs.replace(changed, leaf=leaf_hash(changed))
        swapped = [lines[0], *an_export(rows)[1:]]
    elif swap == "the root":
        swapped = [*lines[:-1], an_export(some_rows(6))[-1]]
    else:
        swapped = lines[:-1]
    with open_store(tmp_path) as store:
        importing = importing_of(store)
        importing.begin(checked.begun)
        with pytest.raises(BadExportError):
            importing.run(io.BytesIO(b"".join(swapped)), checked, nothing)
        with store.ledger.write() as transaction, pytest.raises(SchemaError, match="interrupted at 3 of 6"):
            transaction.head()


def test_a_first_line_that_promises_more_than_there_is_is_refused() -> None:
    lines = an_export(some_rows(4))
    lines[0] = lines[0].replace(b'"through":4', b'"through":9')
    with pytest.raises(BadExportError, match="line 1: 4 events do not end at position 9"):
        check_export(io.BytesIO(b"".join(lines)), nothing)
