"""The cases that the ``eventsourcing`` library publishes for persistence modules, on ours and on both databases.

Its own throughput tests (``test_performance``, ``test_concurrent_throughput``) run too: they take a second each and
check nothing but that nothing breaks.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from eventsourcing.persistence import (
    AggregateRecorder,
    InfrastructureFactory,
    ProcessRecorder,
    StoredEvent,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.tests import application, persistence, projection
from eventsourcing.utils import Environment

from chatledger.adapters.persistence.factory import Factory
from chatledger.adapters.persistence.recorder import SqlRecorder, SqlTrackingRecorder
from tests.persistence.stores import open_store


class _OnSqlite:
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.folder, self.url = tmp_path, f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.mark.postgres
class _OnPostgres:
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path, postgres_url: str) -> None:
        self.folder, self.url = tmp_path, postgres_url


# Recorders


class _Recorder:
    def create_recorder(self) -> SqlRecorder:
        stack = ExitStack()
        self.addCleanup(stack.close)
        recorder = stack.enter_context(open_store(self.folder, self.url)).recorder()
        stack.callback(_join_others, threading.enumerate())
        return recorder


def _join_others(before: Sequence[threading.Thread]) -> None:
    """One of the cases leaves threads behind that read."""
    for thread in {thread for thread in threading.enumerate() if not thread.daemon} - {*before}:
        thread.join(10)


class _WithoutSequence(AggregateRecorder):
    """The recorder as one that knows streams only: the library's case for those expects that no positions are told."""

    def __init__(self, recorder: SqlRecorder) -> None:
        self._recorder = recorder

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        self._recorder.insert_events(stored_events, **kwargs)

    def select_events(self, originator_id: Any, **kwargs: Any) -> Sequence[StoredEvent]:
        return self._recorder.select_events(originator_id, **kwargs)


class _AggregateRecorder(_Recorder):
    def create_recorder(self) -> AggregateRecorder:
        return _WithoutSequence(super().create_recorder())


class _ApplicationRecorder(_Recorder):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestAggregateRecorderOnSqlite(_OnSqlite, _AggregateRecorder, persistence.AggregateRecorderTestCase): ...


class TestAggregateRecorderOnPostgres(_OnPostgres, _AggregateRecorder, persistence.AggregateRecorderTestCase): ...


class TestApplicationRecorderOnSqlite(_OnSqlite, _ApplicationRecorder, persistence.ApplicationRecorderTestCase): ...


class TestApplicationRecorderOnPostgres(_OnPostgres, _ApplicationRecorder, persistence.ApplicationRecorderTestCase): ...


class TestProcessRecorderOnSqlite(_OnSqlite, _Recorder, persistence.ProcessRecorderTestCase): ...


class TestProcessRecorderOnPostgres(_OnPostgres, _Recorder, persistence.ProcessRecorderTestCase): ...


class TestTrackingRecorderOnSqlite(_OnSqlite, _Recorder, persistence.TrackingRecorderTestCase): ...


class TestTrackingRecorderOnPostgres(_OnPostgres, _Recorder, persistence.TrackingRecorderTestCase): ...


class TestNonInterleavingNotificationIDsOnSqlite(
    _OnSqlite, _Recorder, persistence.NonInterleavingNotificationIDsBaseCase
): ...


class TestNonInterleavingNotificationIDsOnPostgres(
    _OnPostgres, _Recorder, persistence.NonInterleavingNotificationIDsBaseCase
): ...


# The persistence module


class EventCounters(SqlTrackingRecorder, projection.EventCountersView):
    tables = sa.MetaData()
    counters = sa.Table(
        "counters", tables, sa.Column("name", sa.Text(), primary_key=True), sa.Column("count", sa.Integer())
    )

    def get_created_event_counter(self) -> int:
        return self._count("created")

    def get_subsequent_event_counter(self) -> int:
        return self._count("subsequent")

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        self._increment("created", tracking)

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        self._increment("subsequent", tracking)

    def _count(self, name: str) -> int:
        with self.reading() as connection:
            found = connection.execute(sa.select(self.counters.c.count).where(self.counters.c.name == name))
            return found.scalar() or 0

    def _increment(self, name: str, tracking: Tracking) -> None:
        counters = self.counters
        with self.writing(tracking) as connection:
            raised = counters.update().where(counters.c.name == name).values(count=counters.c.count + 1)
            if not connection.execute(raised).rowcount:
                connection.execute(counters.insert().values(name=name, count=1))


class _Module:
    @pytest.fixture(autouse=True)
    def _environment(self, _place: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        settings = {
            "PERSISTENCE_MODULE": "chatledger.adapters.persistence",
            "CHATLEDGER_DATABASE_URL": self.url,
            "CHATLEDGER_DURABILITY": "relaxed",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        self.settings = settings


@pytest.mark.filterwarnings("default::DeprecationWarning")  # one of its cases is about one of them
class _Application(_Module): ...


class _Factory(_Module):
    def setUp(self) -> None:
        self.env = Environment("Shop", self.settings)
        super().setUp()

    def expected_factory_class(self) -> type[InfrastructureFactory]:
        return Factory

    def expected_aggregate_recorder_class(self) -> type[AggregateRecorder]:
        return SqlRecorder

    def expected_application_recorder_class(self) -> type[SqlRecorder]:
        return SqlRecorder

    def expected_tracking_recorder_class(self) -> type[TrackingRecorder]:
        return SqlTrackingRecorder

    def tracking_recorder_subclass(self) -> type[TrackingRecorder]:
        return EventCounters

    def expected_process_recorder_class(self) -> type[ProcessRecorder]:
        return SqlRecorder


class _ExampleApplication(_Module):
    expected_factory_topic = "chatledger.adapters.persistence.factory:Factory"


class _EventCounters(_Module):
    def construct_event_counters_view(self) -> EventCounters:
        factory = Factory(Environment("EventCounters", self.settings))
        self.addCleanup(factory.close)
        return factory.tracking_recorder(EventCounters)


class _Projection(_Module):
    view_class = EventCounters


class TestFactoryOnSqlite(_OnSqlite, _Factory, persistence.InfrastructureFactoryTestCase): ...


class TestFactoryOnPostgres(_OnPostgres, _Factory, persistence.InfrastructureFactoryTestCase): ...


class TestExampleApplicationOnSqlite(_OnSqlite, _ExampleApplication, application.ExampleApplicationTestCase): ...


class TestExampleApplicationOnPostgres(_OnPostgres, _ExampleApplication, application.ExampleApplicationTestCase): ...


class TestApplicationOnSqlite(_OnSqlite, _Application, application.ApplicationTestCase): ...


class TestApplicationOnPostgres(_OnPostgres, _Application, application.ApplicationTestCase): ...


class TestEventCountersOnSqlite(_OnSqlite, _EventCounters, projection.EventCountersViewTestCase): ...


class TestEventCountersOnPostgres(_OnPostgres, _EventCounters, projection.EventCountersViewTestCase): ...


class TestProjectionOnSqlite(_OnSqlite, _Projection, projection.AggregateEventCountersProjectionTestCase): ...


class TestProjectionOnPostgres(_OnPostgres, _Projection, projection.AggregateEventCountersProjectionTestCase): ...


class TestEventSourcedProjectionOnSqlite(_OnSqlite, _Module, projection.EventSourcedProjectionTestCase): ...


class TestEventSourcedProjectionOnPostgres(_OnPostgres, _Module, projection.EventSourcedProjectionTestCase): ...
