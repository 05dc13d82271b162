"""An application that is written with the ``eventsourcing`` library alone, on the ledger, on both databases."""

from contextlib import closing
from uuid import uuid4

import pytest
import sqlalchemy as sa
from eventsourcing.application import AggregateNotFoundError
from eventsourcing.persistence import IntegrityError, Tracking
from eventsourcing.projection import EventSourcedProjectionRunner
from eventsourcing.system import (
    MultiThreadedRunner,
    NewMultiThreadedRunner,
    NewSingleThreadedRunner,
    SingleThreadedRunner,
)

from tests.ferry.line import Bakery, Crossing, Ferry, FullError, Harbour, line
from tests.ferry.running import WITHIN, Env, manifest, view_alone


def test_aggregates_are_saved_and_loaded_at_any_version(env: Env) -> None:
    with closing(Ferry(env)) as ferry:
        crossing_id = ferry.schedule("Portree", seats=2)
        assert [ferry.book(crossing_id, "Ada"), ferry.book(crossing_id, "Luca")] == [2, 3]
        with pytest.raises(FullError):
            ferry.book(crossing_id, "Grace")
        with pytest.raises(AggregateNotFoundError):
            ferry.passengers(uuid4())
    with closing(Ferry(env)) as ferry:
        assert ferry.passengers(crossing_id) == ["Ada", "Luca"]
        assert ferry.passengers(crossing_id, version=2) == ["Ada"]
        section = ferry.notification_log["1,10"]
        assert [(item.id, item.originator_id, item.originator_version) for item in section.items] == [
            (1, crossing_id, 1),
            (2, crossing_id, 2),
            (3, crossing_id, 3),
        ]


def test_of_two_who_decide_on_the_same_version_one_is_refused(env: Env) -> None:
    with closing(Ferry(env)) as ferry:
        crossing_id = ferry.schedule("Portree")
        one, other = (ferry.repository.get(crossing_id) for _ in range(2))
        one.book("Ada")
        ferry.save(one)
        other.book("Luca")
        with pytest.raises(IntegrityError):
            ferry.save(other)
        assert ferry.passengers(crossing_id) == ["Ada"]


def test_snapshots_are_taken_and_used(env: Env) -> None:
    with closing(Ferry(env)) as ferry:
        crossing_id = ferry.schedule("Portree")
        booked = [f"passenger {number}" for number in range(1, 25)]
        for passenger in booked:
            ferry.book(crossing_id, passenger)
        assert [snapshot.originator_version for snapshot in ferry.snapshots.get(crossing_id)] == [10, 20]
        assert ferry.passengers(crossing_id) == booked
        assert ferry.passengers(crossing_id, version=15) == booked[:14]
        assert ferry.recorder.max_notification_id() == 25
        # Nobody would do this; what it changes, it changes by way of the snapshot.
        ferry.snapshots.put([Crossing.Snapshot.take(forged(ferry.repository.get(crossing_id)))])
        assert ferry.passengers(crossing_id) == ["a forger"]


def forged(crossing: Crossing) -> Crossing:
    crossing.passengers[:] = ["a forger"]
    return crossing


def test_a_view_follows_in_the_same_process(env: Env) -> None:
    with manifest(env) as runner:
        crossing_id = runner.app.schedule("Portree")
        for passenger in ("Ada", "Luca"):
            position = runner.app.book(crossing_id, passenger)
            runner.wait(position, timeout=WITHIN)
            assert runner.view.passengers(crossing_id)[-1] == passenger
        assert runner.view.passengers(crossing_id) == ["Ada", "Luca"]
    runner.view.close()


def test_an_application_with_events_of_its_own_follows(env: Env) -> None:
    with EventSourcedProjectionRunner(application_class=Ferry, projection_class=Harbour, env=env) as runner:
        crossing_id = runner.app.schedule("Portree")
        for passenger in ("Ada", "Luca", "Ada"):
            position = runner.app.book(crossing_id, passenger)
        runner.wait(position, timeout=WITHIN)
        assert [runner.projection.bookings(name) for name in ("Ada", "Luca", "Grace")] == [2, 1, 0]


@pytest.mark.parametrize(
    "runner_class", [SingleThreadedRunner, NewSingleThreadedRunner, MultiThreadedRunner, NewMultiThreadedRunner]
)
def test_a_system_runs(env: Env, runner_class: type) -> None:
    with runner_class(line, env=env) as runner:
        ferry, harbour = runner.get(Ferry), runner.get(Harbour)
        crossing_id = ferry.schedule("Portree")
        for _ in range(20):
            position = ferry.book(crossing_id, "Ada")
        harbour.recorder.wait("Ferry", position, timeout=WITHIN)
        assert harbour.bookings("Ada") == 20


def test_applications_share_the_ledger_and_see_nothing_of_each_other(env: Env) -> None:
    with closing(Bakery(env)) as bakery, manifest(env) as runner:
        crossing_id = runner.app.schedule("Portree")
        loaves, bookings = [], []
        for number in range(10):
            loaves.append(bakery.bake("rye"))
            bookings.append(runner.app.book(crossing_id, f"passenger {number}"))
        runner.wait(bookings[-1], timeout=WITHIN)
        assert runner.view.passengers(crossing_id) == [f"passenger {number}" for number in range(10)]
        assert sorted([1, *loaves, *bookings]) == list(range(1, 22))
        assert [item.id for item in bakery.notification_log["1,10"].items] == loaves
        with pytest.raises(AggregateNotFoundError):
            bakery.repository.get(crossing_id)
        assert (bakery.recorder.max_notification_id(), runner.app.recorder.max_notification_id()) == (20, 21)
    runner.view.close()


def test_after_a_restart_positions_and_tracking_go_on(env: Env) -> None:
    with manifest(env) as runner:
        crossing_id = runner.app.schedule("Portree")
        runner.wait(runner.app.book(crossing_id, "Ada"), timeout=WITHIN)
    runner.view.close()
    with closing(Ferry(env)) as ferry:
        assert ferry.book(crossing_id, "Luca") == 3
    with view_alone(env) as view:
        assert view.max_tracking_id("Ferry") == 2
    with manifest(env) as runner:
        runner.wait(runner.app.book(crossing_id, "Grace"), timeout=WITHIN)
        assert runner.view.passengers(crossing_id) == ["Ada", "Luca", "Grace"]
    runner.view.close()


def test_a_view_that_raises_ends_its_runner_and_loses_nothing(env: Env) -> None:
    with manifest(env) as runner:
        crossing_id = runner.app.schedule("Portree")
        runner.app.book(crossing_id, "Ada")
        position = runner.app.book(crossing_id, "a stowaway")
        with pytest.raises(ValueError, match="nobody of that name"):
            runner.run_forever(timeout=WITHIN)
        assert runner.view.passengers(crossing_id) == ["Ada"]
        assert runner.view.max_tracking_id("Ferry") == position - 1
    runner.view.close()


def test_what_a_view_wrote_goes_with_its_tracking(env: Env) -> None:
    first = Tracking("Ferry", 1)
    with closing(Ferry(env)) as ferry, view_alone(env) as view:
        crossing_id = ferry.schedule("Portree")
        with pytest.raises(sa.exc.CompileError), view.writing(first) as connection:
            connection.execute(view.entries.insert().values(crossing_id=crossing_id, ticket=1))
        assert view.max_tracking_id("Ferry") is None
        view.add(crossing_id, "Ada", first)
        with pytest.raises(IntegrityError, match="Ferry was followed to 1 already"):
            view.add(crossing_id, "Ada", first)
        assert view.passengers(crossing_id) == ["Ada"]
