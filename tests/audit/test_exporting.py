"""Exports hold the rows as they stand: all of them or a part's, also after an interruption."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from chatledger.application.audit.export_file import ExportFile, ExportFileError
from chatledger.application.audit.export_lines import ExportScope, UnexportableError
from chatledger.application.audit.export_reader import ExportReader
from tests.audit.exports import WHOLE, busy_store, export_to, exporting_of, read_export, stored_rows
from tests.persistence.stores import Store
from tests.support.databases import ON_SQLITE


@pytest.fixture
def store(tmp_path: Path, database_url: str | None) -> Iterator[Store]:
    with busy_store(tmp_path, database_url) as busy:
        yield busy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_an_export_has_every_row_and_each_line_is_a_cloud_event(store: Store, path: Path) -> None:
    export_to(path, store)
    assert read_export(path) == stored_rows(store) != []
    assert path.stat().st_mode & 0o777 == 0o600
    for line in path.read_bytes().splitlines():
        event = JSONFormat().read(CloudEvent, line)
        assert event.get_source().startswith("urn:uuid:")
        assert event.get_type().startswith("chatledger.")


def ids(store: Store, sql: str) -> list[UUID]:
    return [UUID(bytes=value) for (value,) in store.query(sql)]


def test_the_parts_of_a_ledger_have_what_is_theirs(store: Store, path: Path) -> None:
    positions: dict[UUID, set[int]] = {}

    def part(scope: ExportScope, key: UUID) -> set[int]:
        file = path.with_name(key.hex)
        export_to(file, store, scope)
        rows = read_export(file)
        positions[key] = {row.position for row in rows}
        assert [row for row in stored_rows(store) if row.position in positions[key]] == rows
        return positions[key]

    of_an_app = {"app", "end_user", "conversation", "message", "file"}
    everything = {row.position for row in stored_rows(store) if row.category in of_an_app}
    apps = ids(store, "SELECT app_id FROM apps")
    assert sum(len(part(ExportScope(app_id=app), app)) for app in apps) == len(everything)
    assert set.union(*(positions[app] for app in apps)) == everything

    people = ids(store, "SELECT end_user_id FROM end_users UNION SELECT end_user_id FROM erasures")
    of_people = [part(ExportScope(end_user_id=person), person) for person in people]
    of_apps = {row.position for row in stored_rows(store) if row.category == "app"}
    assert sum(map(len, of_people)) == len(everything - of_apps)
    assert set.union(*of_people) == everything - of_apps

    deleted = ids(store, "SELECT stream_id FROM ledger WHERE name = 'ConversationDeleted'")
    for conversation in [*deleted, *ids(store, "SELECT conversation_id FROM conversations LIMIT 5")]:
        found = part(ExportScope(conversation_id=conversation), conversation)
        streams = {row.stream_id for row in stored_rows(store) if row.position in found}
        messages = ids(
            store, f"SELECT message_id FROM messages WHERE conversation_id = {_literal(store, conversation)}"
        )
        assert {conversation, *messages} <= streams


def test_a_whole_export_ends_with_the_newest_checkpoint_that_covers_no_more(store: Store, path: Path) -> None:
    ((raw,),) = store.query("SELECT incarnation FROM head")
    (last,), *_ = store.query("SELECT position FROM head")
    own, other = f"ledger/{UUID(bytes=raw)}", f"ledger/{UUID(int=5)}"
    for number, (origin, size) in enumerate([(own, 3), (own, last), (other, last), (own, last + 1)], 1):
        values = f"{number}, '{origin}', {size}, 'note {number}', 0, NULL"
        store.execute(
            f"INSERT INTO checkpoints (number, origin, size, note, signed_at, delivered_at) VALUES ({values})"
        )
    export_to(path, store)
    with path.open("rb") as file:
        reader = ExportReader(file)
        list(reader.rows())
    assert reader.ended is not None
    assert reader.ended.checkpoint == "note 2"


@ON_SQLITE
def test_an_interrupted_export_goes_on_where_it_ended(store: Store, path: Path) -> None:
    export_to(path, store)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    store.execute("UPDATE head SET position = position + 7")  # as if more had been said since
    ninth = sum(map(len, lines[:9]))
    part = path.with_name(f"{path.name}.part")
    for cut in (len(lines[0]), ninth, ninth + 99, len(whole) - len(lines[-1]), len(whole) - 1, len(whole)):
        path.unlink(missing_ok=True)
        part.write_bytes(whole[:cut])
        with ExportFile(path) as file:
            file.write(exporting_of(store), WHOLE, lambda _done, _total: None)
            assert file.taken_up_after == min(whole[:cut].count(b"\n"), len(lines) - 1) - 1
            assert not path.exists()
            file.finish()
        assert path.read_bytes().splitlines(keepends=True)[:-1] == lines[:-1]
        assert read_export(path)
        assert not part.exists()


@ON_SQLITE
def test_what_came_to_the_disk_in_shreds_is_written_once_more(store: Store, path: Path) -> None:
    export_to(path, store)
    lines = path.read_bytes().splitlines(keepends=True)
    torn = lines[5][:50] + bytes(len(lines[5]) - 51) + b"\n"
    path.rename(path.with_name(f"{path.name}.part")).write_bytes(b"".join([*lines[:5], torn, *lines[6:20]]))
    export_to(path, store)
    assert read_export(path) == stored_rows(store)


@ON_SQLITE
def test_before_the_first_line_is_whole_nothing_was_begun(store: Store, path: Path) -> None:
    export_to(path, store)
    begun = path.read_bytes()[:60]
    for content in (b"", begun):
        path.unlink()
        path.with_name(f"{path.name}.part").write_bytes(content)
        export_to(path, store)
        assert read_export(path) == stored_rows(store)


@ON_SQLITE
def test_a_file_that_is_there_is_left_alone(store: Store, path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(ExportFileError, match="is there already"):
        export_to(path, store)
    assert path.read_text() == "mine"

    part = path.with_name("other.part")
    for content in ("mine\n", '{"mine": 1}'):
        part.write_text(content)
        with pytest.raises(ExportFileError, match="is no export"):
            export_to(path.with_name("other"), store)
        assert part.read_text() == content


@ON_SQLITE
def test_two_do_not_write_one_file(store: Store, path: Path) -> None:
    with ExportFile(path), pytest.raises(ExportFileError, match="another command"):
        export_to(path, store)


@ON_SQLITE
def test_another_export_is_not_taken_up(store: Store, path: Path) -> None:
    export_to(path, store, ExportScope(app_id=ids(store, "SELECT app_id FROM apps")[0]))
    part = path.rename(path.with_name(f"{path.name}.part"))
    content = part.read_bytes()
    with pytest.raises(ExportFileError, match="another export"):
        export_to(path, store)
    store.execute("UPDATE head SET incarnation = (SELECT app_id FROM apps LIMIT 1)")
    with pytest.raises(UnexportableError, match="another ledger"):
        export_to(path, store, ExportScope(app_id=ids(store, "SELECT app_id FROM apps")[0]))
    assert part.read_bytes() == content


@ON_SQLITE
@pytest.mark.parametrize(
    ("change", "position"),
    [
        ("UPDATE events SET recorded_at = recorded_at + 1 WHERE position = 3", 3),
        ("DELETE FROM events WHERE position = 4", 4),
        ("DELETE FROM events WHERE position = (SELECT max(position) FROM events)", None),
        ("UPDATE events SET recorded_at = 9000000000000000000 WHERE position = 5", 5),
    ],
)
def test_a_ledger_that_was_changed_is_not_exported(store: Store, path: Path, change: str, position: int | None) -> None:
    last = store.positions()[-1]
    store.execute(change)
    with pytest.raises(UnexportableError, match=f"position {position or last}"):
        export_to(path, store)
    assert not path.exists()


def _literal(store: Store, value: UUID) -> str:
    return f"'{value}'" if store.writing.dialect.name == "postgresql" else f"x'{value.hex}'"
