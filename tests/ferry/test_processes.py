"""Applications on the library in several processes, and in processes that are killed."""

import gc
import random
import threading
from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.persistence import OperationalError

from chatledger.adapters.persistence.lock import DataFolderLock
from tests.ferry.line import Bakery, Ferry
from tests.ferry.running import WITHIN, Env, manifest, process, settings, view_alone

KILLS = 4


@pytest.fixture
def sqlite(tmp_path: Path) -> Env:
    return settings(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.mark.postgres
def test_on_postgres_the_view_may_be_in_another_process(postgres_url: str) -> None:
    env = settings(postgres_url)
    with closing(Ferry(env)) as ferry, view_alone(env) as view, process(env, "follow") as follower:
        assert follower.stdout.readline() == "ready\n"
        crossing_id = ferry.schedule("Portree")
        for passenger in ("Ada", "Luca", "Grace"):
            position = ferry.book(crossing_id, passenger)
            view.wait("Ferry", position, timeout=WITHIN)
        assert view.passengers(crossing_id) == ["Ada", "Luca", "Grace"]
        assert follower.communicate(timeout=WITHIN) == ("", "")
        assert follower.returncode == 0


@pytest.mark.postgres
@pytest.mark.faults
def test_a_view_whose_process_is_killed_misses_nothing_and_doubles_nothing(postgres_url: str) -> None:
    env, dice = settings(postgres_url), random.Random(1)
    with closing(Ferry(env)) as ferry, view_alone(env) as view:
        crossing_id = ferry.schedule("Portree")
        booked = [f"passenger {number}" for number in range(300)]
        booking = threading.Thread(target=lambda: [ferry.book(crossing_id, passenger) for passenger in booked])
        booking.start()
        for _ in range(KILLS):
            followed = view.max_tracking_id("Ferry") or 0
            with process(env, "follow"):
                view.wait("Ferry", min(followed + dice.randint(1, 50), len(booked)), timeout=WITHIN)
        booking.join()
        with manifest(env) as runner:
            runner.wait(ferry.recorder.max_notification_id(), timeout=WITHIN)
        assert view.passengers(crossing_id) == booked
        runner.view.close()


@pytest.mark.faults
def test_a_process_that_is_killed_keeps_what_it_booked(env: Env) -> None:
    dice = random.Random(1)
    with closing(Ferry(env)) as ferry:
        crossing_id = ferry.schedule("Portree")
    acknowledged = 0
    for _ in range(KILLS):
        with process(env, "work", str(crossing_id)) as worker:
            assert worker.stdout.readline() == "ready\n"
            for _ in range(dice.randint(1, 40)):
                acknowledged = int(worker.stdout.readline())
            worker.kill()
            acknowledged = int((worker.stdout.read().split() or [acknowledged])[-1])
    with manifest(env) as runner:
        booked = runner.app.passengers(crossing_id)
        assert booked == [f"passenger {number + 1}" for number in range(len(booked))]
        assert acknowledged <= len(booked) <= acknowledged + 1
        runner.wait(runner.app.recorder.max_notification_id(), timeout=WITHIN)
        assert runner.view.passengers(crossing_id) == booked
    runner.view.close()


def test_a_file_is_one_process_s(sqlite: Env) -> None:
    with process(sqlite, "follow") as holder:
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(OperationalError, match=f"in use by another server, process {holder.pid}"):
            Ferry(sqlite)
        holder.communicate(timeout=WITHIN)
    with closing(Ferry(sqlite)) as ferry:
        assert ferry.recorder.max_notification_id() is None


def test_the_last_of_a_process_lets_go_of_its_file(sqlite: Env, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ferry, bakery = Ferry(sqlite), Bakery(sqlite)
    ferry.close()
    ferry.close()
    assert bakery.bake("rye") == 1
    with process(sqlite, "follow") as other:
        assert "is in use by another server" in other.communicate(timeout=WITHIN)[1]
    bakery.close()
    with DataFolderLock(path):
        pass
    with pytest.raises(OperationalError, match="was closed by the last who used it"):
        bakery.bake("rye")


def test_who_is_forgotten_lets_go_of_its_file(sqlite: Env, tmp_path: Path) -> None:
    bakery, runner = Bakery(sqlite), manifest(sqlite)
    with runner:
        runner.app.schedule("Portree")
    assert runner.view.max_tracking_id("Bakery") is None
    del runner
    gc.collect()
    bakery.close()
    with DataFolderLock(tmp_path / "ledger.db"):
        pass


def test_applications_come_and_go_in_many_threads(env: Env) -> None:
    positions: list[int] = []

    def come_and_go() -> None:
        for _ in range(20):
            with closing(Bakery(env)) as bakery:
                positions.append(bakery.bake("rye"))

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(positions) == list(range(1, 81))
