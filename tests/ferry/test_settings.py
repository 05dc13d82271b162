"""What an application sets, and what it is told when that is impossible."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from eventsourcing.persistence import (
    InfrastructureFactory,
    InfrastructureFactoryError,
    OperationalError,
    ProgrammingError,
)
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.utils import Environment

from chatledger.adapters.persistence.lock import DataFolderLock
from chatledger.adapters.persistence.recorder import SqlRecorder, SqlTrackingRecorder
from tests.ferry.line import Bakery, Ferry, Harbour
from tests.ferry.running import ROOT, Env, settings, view_alone

TOPIC = f"{__name__}:"


class CountingRecorder(SqlRecorder): ...


class MessagesView(SqlTrackingRecorder):
    tables = sa.MetaData()
    messages = sa.Table("messages", tables, sa.Column("text", sa.Text()))


@pytest.fixture
def sqlite(tmp_path: Path) -> Env:
    return settings(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("CHATLEDGER_DATABASE_URL", "", "FERRY_CHATLEDGER_DATABASE_URL or CHATLEDGER_DATABASE_URL is not set"),
        ("CHATLEDGER_DATABASE_URL", "mysql://me:secret@host/db", "must begin with sqlite:/// or postgresql://"),
        ("CHATLEDGER_DATABASE_URL", "sqlite:///", "must name a file in a folder that is there"),
        ("CHATLEDGER_DATABASE_URL", "sqlite:///:memory:", "must name a file in a folder that is there"),
        ("CHATLEDGER_DATABASE_URL", "sqlite:////no/such/folder/ledger.db", "must name a file in a folder"),
        ("CHATLEDGER_DURABILITY", "none", "CHATLEDGER_DURABILITY must be full or relaxed"),
        ("CREATE_TABLE", "perhaps", "CREATE_TABLE must be yes or no"),
        ("ORIGINATOR_ID_TYPE", "text", "ORIGINATOR_ID_TYPE: the ledger names its streams by UUIDs"),
        ("SINGLE_ROW_TRACKING", "no", "SINGLE_ROW_TRACKING: the ledger has no other way"),
    ],
)
def test_an_impossible_setting_is_named_and_not_quoted(sqlite: Env, setting: str, value: str, reason: str) -> None:
    with pytest.raises(InfrastructureFactoryError, match=reason) as caught:
        Ferry(sqlite | {setting: value})
    assert "secret" not in str(caught.value)


def test_each_application_may_have_a_setting_of_its_own(sqlite: Env, tmp_path: Path) -> None:
    env = sqlite | {"BAKERY_CHATLEDGER_DATABASE_URL": f"sqlite:///{tmp_path / 'bakery.db'}"}
    with closing(Ferry(env)) as ferry, closing(Bakery(env)) as bakery:
        ferry.schedule("Portree")
        assert bakery.bake("rye") == 1
    assert {path.name for path in tmp_path.glob("*.db")} == {"ledger.db", "bakery.db"}


def test_an_empty_file_is_made_a_ledger_or_left_alone(sqlite: Env, tmp_path: Path) -> None:
    with pytest.raises(ProgrammingError, match=r"the store is empty.*run `chatledger migrate`") as caught:
        Ferry(sqlite | {"CREATE_TABLE": "no"})
    with DataFolderLock(tmp_path / "ledger.db"):
        assert caught.tb is not None
    Ferry(sqlite).close()
    with closing(Ferry(sqlite | {"CREATE_TABLE": "no"})) as ferry:
        ferry.schedule("Portree")


@pytest.mark.postgres
def test_an_empty_database_is_made_a_ledger_or_left_alone(postgres_url: str) -> None:
    env = settings(postgres_url)
    with pytest.raises(ProgrammingError, match="the store is empty"):
        Ferry(env | {"CREATE_TABLE": "no"})
    with closing(Ferry(env)) as ferry:
        ferry.schedule("Portree")
    with closing(Ferry(env | {"CREATE_TABLE": "no"})) as ferry:
        assert ferry.recorder.max_notification_id() == 1


def test_a_views_tables_are_made_where_that_is_wanted(sqlite: Env) -> None:
    Ferry(sqlite).close()
    with view_alone(sqlite | {"CREATE_TABLE": "no"}) as view, pytest.raises(OperationalError, match="ferry_manifest"):
        view.passengers(uuid4())
    with view_alone(sqlite), view_alone(sqlite) as view:
        assert view.max_tracking_id("Ferry") is None


def test_a_view_may_not_have_a_table_of_the_ledgers(sqlite: Env) -> None:
    factory = InfrastructureFactory.construct(Environment("Talk", sqlite))
    with closing(factory), pytest.raises(ProgrammingError, match="MessagesView has a table messages, which is one of"):
        factory.tracking_recorder(MessagesView)


def test_recorders_may_be_of_classes_of_ones_own(sqlite: Env) -> None:
    own = f"{TOPIC}CountingRecorder"
    with closing(Ferry(sqlite | {"APPLICATION_RECORDER_TOPIC": own})) as ferry:
        assert type(ferry.recorder) is CountingRecorder
    with closing(Harbour(sqlite | {"PROCESS_RECORDER_TOPIC": own})) as harbour:
        assert type(harbour.recorder) is CountingRecorder
    factory = InfrastructureFactory.construct(Environment("Talk", sqlite))
    with closing(factory), pytest.raises(ProgrammingError, match=r"is not a subclass of .*SqlTrackingRecorder"):
        factory.tracking_recorder(POPOTrackingRecorder)


def test_what_has_no_name_has_no_events(sqlite: Env) -> None:
    with closing(InfrastructureFactory.construct(sqlite)) as factory:
        with pytest.raises(ProgrammingError, match="an application needs a name"):
            factory.application_recorder()
        with pytest.raises(ProgrammingError, match="no forecasts"):
            factory.aggregate_recorder("forecasts")


def test_one_ledger_has_one_durability(sqlite: Env) -> None:
    with closing(Ferry(sqlite)):
        with pytest.raises(ProgrammingError, match="has the ledger open with durability relaxed"):
            Bakery(sqlite | {"CHATLEDGER_DURABILITY": "full"})
        Bakery(sqlite).close()


def test_a_server_does_not_pay_for_the_library_and_the_library_finds_the_module_after_it() -> None:
    program = """
import sys
import chatledger.bootstrap
assert not any(name.startswith("eventsourcing") for name in sys.modules)
from eventsourcing.persistence import InfrastructureFactory
env = {"PERSISTENCE_MODULE": "chatledger.adapters.persistence", "CHATLEDGER_DATABASE_URL": "sqlite:///ledger.db"}
print(type(InfrastructureFactory.construct(env)).__module__)
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("chatledger.adapters.persistence.factory\n", "")
