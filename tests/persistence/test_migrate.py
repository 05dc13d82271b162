"""Migrations, from an empty file to what this release works with."""

import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.migrate import (
    HEAD_REVISION,
    MIGRATIONS,
    require_current,
    schema_revision,
    upgrade,
)
from chatledger.adapters.persistence.sqlite import sqlite_engine
from chatledger.adapters.persistence.tables import LEDGER_VIEW, METADATA
from chatledger.application.ledger.projections import READ_MODELS_VERSION
from chatledger.application.ports.storage import SchemaError


@pytest.fixture
def engine(tmp_path: Path):
    engine = sqlite_engine(tmp_path / "ledger.db")
    yield engine
    engine.dispose()


def master(engine: sa.Engine) -> dict[str, str | None]:
    """Every table, index and view with the statement that made it, white space aside."""
    with engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master").all()
    return {
        f"{row.type} {row.name} of {row.tbl_name}": row.sql and " ".join(row.sql.split())
        for row in rows
        if row.tbl_name != "chatledger_version"
    }


def described(engine: sa.Engine) -> dict[str, object]:
    inspector = sa.inspect(engine)
    return {
        table: (
            [{**column, "type": str(column["type"])} for column in inspector.get_columns(table)],
            inspector.get_pk_constraint(table),
            sorted(inspector.get_unique_constraints(table), key=str),
            inspector.get_foreign_keys(table),
            inspector.get_check_constraints(table),
            [
                {**index, "dialect_options": {key: str(value) for key, value in index["dialect_options"].items()}}
                for index in sorted(inspector.get_indexes(table), key=lambda index: str(index["name"]))
            ],
        )
        for table in inspector.get_table_names()
        if table != "chatledger_version"
    }


def test_the_head_revision_is_alembics() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD_REVISION]


def test_a_migrated_store_has_the_tables_that_the_code_knows(engine: sa.Engine, tmp_path: Path) -> None:
    upgrade(engine)
    other = sqlite_engine(tmp_path / "other.db")
    with other.begin() as connection:
        METADATA.create_all(connection)
        connection.exec_driver_sql(LEDGER_VIEW.strip())
    assert "table events of events" in master(engine)
    assert master(engine) == master(other)
    assert described(engine) == described(other)
    other.dispose()


def test_a_new_store_begins_with_one_head_row(engine: sa.Engine) -> None:
    assert upgrade(engine)
    with engine.begin() as connection:
        ((*numbers, incarnation),) = connection.exec_driver_sql(
            "SELECT singleton, position, recorded_at, last_stream, read_models, incarnation FROM head"
        ).all()
    assert numbers == [1, 0, 0, 0, READ_MODELS_VERSION]
    assert UUID(bytes=incarnation).int != 0


def test_each_store_is_an_incarnation_of_its_own(engine: sa.Engine, tmp_path: Path) -> None:
    other = sqlite_engine(tmp_path / "other.db")
    found = set()
    for each in (engine, other):
        upgrade(each)
        with each.begin() as connection:
            found.add(connection.exec_driver_sql("SELECT incarnation FROM head").scalar())
    assert len(found) == 2
    other.dispose()


def test_a_second_upgrade_finds_nothing_to_do(engine: sa.Engine) -> None:
    assert schema_revision(engine) is None
    assert upgrade(engine)
    assert schema_revision(engine) == HEAD_REVISION
    before = master(engine)
    assert not upgrade(engine)
    assert master(engine) == before
    require_current(engine)


def test_an_empty_store_is_refused_with_the_command_that_helps(engine: sa.Engine) -> None:
    with pytest.raises(SchemaError, match=r"the store is empty.*`chatledger migrate`"):
        require_current(engine)


def test_a_store_of_another_release_is_refused_and_left_alone(engine: sa.Engine) -> None:
    upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE chatledger_version SET version_num = '9999'")
    before = master(engine)
    with pytest.raises(SchemaError, match=r"has revision 9999.*`chatledger migrate`"):
        require_current(engine)
    with pytest.raises(SchemaError, match=r"newer release.*9999"):
        upgrade(engine)
    assert schema_revision(engine) == "9999"
    assert master(engine) == before


def test_a_migration_that_fails_half_way_leaves_nothing(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE leases (in_the_way INTEGER)")
    with pytest.raises(sa.exc.OperationalError, match="leases already exists"):
        upgrade(engine)
    assert list(master(engine)) == ["table leases of leases"]
    assert schema_revision(engine) is None
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE leases")
    assert upgrade(engine)


def test_two_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    engines = [sqlite_engine(tmp_path / "ledger.db") for _ in range(4)]
    line, done = threading.Barrier(len(engines)), []

    def start(engine: sa.Engine) -> None:
        line.wait()
        done.append(upgrade(engine))

    threads = [threading.Thread(target=start, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False, False, False, True]
    for engine in engines:
        engine.dispose()


def test_several_stores_are_migrated_at_once(tmp_path: Path) -> None:
    engines = [sqlite_engine(tmp_path / f"{number}.db") for number in range(4)]
    line, done = threading.Barrier(len(engines)), []

    def start(engine: sa.Engine) -> None:
        line.wait()
        done.append(upgrade(engine))

    threads = [threading.Thread(target=start, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 4
    for engine in engines:
        require_current(engine)
        engine.dispose()


def test_a_current_store_costs_no_import_of_alembic_and_migrating_changes_no_logging(tmp_path: Path) -> None:
    program = """
import logging, sys
from pathlib import Path
from chatledger.adapters.persistence.sqlite import sqlite_engine
from chatledger.adapters.persistence.migrate import require_current, schema_revision, upgrade

logging.getLogger("before").setLevel(logging.DEBUG)
engine = sqlite_engine(Path(sys.argv[1]))
made = upgrade(engine)
require_current(engine)
log = logging.getLogger
assert log().handlers == [] and log().level == logging.WARNING and not log("before").disabled
assert made == ("alembic" in sys.modules), made
print(made, end="")
"""
    said = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program, tmp_path / "100%.db"], check=True, capture_output=True
        )
        for _ in range(2)
    ]
    assert [(run.stdout, run.stderr) for run in said] == [(b"True", b""), (b"False", b"")]
