"""The cases that the ``eventsourcing`` library publishes for recorders, on ours.

Its own throughput tests (``test_performance``, ``test_concurrent_throughput``) run too: they take a second each and
check nothing but that nothing breaks.
"""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from eventsourcing.persistence import AggregateRecorder, StoredEvent
from eventsourcing.tests import persistence as cases

from chatledger.adapters.persistence.recorder import SqlRecorder
from tests.persistence.stores import open_store


class _OnSql:
    def create_recorder(self) -> SqlRecorder:
        stack = ExitStack()
        self.addCleanup(stack.close)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        return stack.enter_context(open_store(Path(folder))).recorder()


class _WithoutSequence(AggregateRecorder):
    """The recorder as one that knows streams only: the library's case for those expects that no positions are told."""

    def __init__(self, recorder: SqlRecorder) -> None:
        self._recorder = recorder

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        self._recorder.insert_events(stored_events, **kwargs)

    def select_events(self, originator_id: Any, **kwargs: Any) -> Sequence[StoredEvent]:
        return self._recorder.select_events(originator_id, **kwargs)


class TestAggregateRecorder(_OnSql, cases.AggregateRecorderTestCase):
    def create_recorder(self) -> AggregateRecorder:
        return _WithoutSequence(super().create_recorder())


class TestApplicationRecorder(_OnSql, cases.ApplicationRecorderTestCase):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestProcessRecorder(_OnSql, cases.ProcessRecorderTestCase):
    pass


class TestTrackingRecorder(_OnSql, cases.TrackingRecorderTestCase):
    pass


class TestNonInterleavingNotificationIDs(_OnSql, cases.NonInterleavingNotificationIDsBaseCase):
    pass
