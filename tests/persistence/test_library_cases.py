"""The cases that the ``eventsourcing`` library publishes for recorders, on ours.

Its own throughput tests (``test_performance``, ``test_concurrent_throughput``) run too: they take a second each and
check nothing but that nothing breaks.
"""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.persistence import AggregateRecorder, StoredEvent
from eventsourcing.tests import persistence as cases

from chatledger.adapters.persistence.recorder import SqlRecorder
from tests.persistence.stores import open_store
from tests.support.postgres import PostgresServer


class _OnSqlite:
    def create_recorder(self) -> SqlRecorder:
        stack = ExitStack()
        self.addCleanup(stack.close)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        return stack.enter_context(open_store(Path(folder))).recorder()


@pytest.mark.postgres
class _OnPostgres:
    server: PostgresServer
    template: str

    @pytest.fixture(autouse=True)
    def _use(self, postgres_server: PostgresServer, migrated_database: str) -> None:
        type(self).server, type(self).template = postgres_server, migrated_database

    def create_recorder(self) -> SqlRecorder:
        stack = ExitStack()
        self.addCleanup(stack.close)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        url = self.server.fresh_database(self.template)
        return stack.enter_context(open_store(Path(folder), url)).recorder()


class _WithoutSequence(AggregateRecorder):
    """The recorder as one that knows streams only: the library's case for those expects that no positions are told."""

    def __init__(self, recorder: SqlRecorder) -> None:
        self._recorder = recorder

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        self._recorder.insert_events(stored_events, **kwargs)

    def select_events(self, originator_id: Any, **kwargs: Any) -> Sequence[StoredEvent]:
        return self._recorder.select_events(originator_id, **kwargs)


class _OfAggregates:
    def create_recorder(self) -> AggregateRecorder:
        return _WithoutSequence(super().create_recorder())


class _OfApplications:
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestAggregateRecorder(_OfAggregates, _OnSqlite, cases.AggregateRecorderTestCase):
    pass


class TestAggregateRecorderOnPostgres(_OfAggregates, _OnPostgres, cases.AggregateRecorderTestCase):
    pass


class TestApplicationRecorder(_OfApplications, _OnSqlite, cases.ApplicationRecorderTestCase):
    pass


class TestApplicationRecorderOnPostgres(_OfApplications, _OnPostgres, cases.ApplicationRecorderTestCase):
    pass


class TestProcessRecorder(_OnSqlite, cases.ProcessRecorderTestCase):
    pass


class TestProcessRecorderOnPostgres(_OnPostgres, cases.ProcessRecorderTestCase):
    pass


class TestTrackingRecorder(_OnSqlite, cases.TrackingRecorderTestCase):
    pass


class TestTrackingRecorderOnPostgres(_OnPostgres, cases.TrackingRecorderTestCase):
    pass


class TestNonInterleavingNotificationIDs(_OnSqlite, cases.NonInterleavingNotificationIDsBaseCase):
    pass


class TestNonInterleavingNotificationIDsOnPostgres(_OnPostgres, cases.NonInterleavingNotificationIDsBaseCase):
    pass
