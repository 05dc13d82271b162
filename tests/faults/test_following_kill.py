"""``kill -9`` of a host whose projection and handler are at work: each event counts once, and is handled at least once.

More of them: ``./faults --only following_kill``.
"""

import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.database import database_at
from tests.support.host_tables import seen
from tests.support.process import environment, until

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]
END_WITHIN = 90.0


class Host:
    """The process of ``tests.support.following_host``, run again and again on one store."""

    def __init__(self, data_folder: Path, database_url: str | None) -> None:
        self.handled = data_folder.parent / "handled"
        url = database_url or f"sqlite:///{data_folder}/ledger.db"
        self._database = database_at(url)
        # A crash of a process costs nothing whatever the durability; the server of the tests does not sync.
        self._env = environment(data_folder, {"CHATLEDGER_DATABASE_URL": url, "CHATLEDGER_DURABILITY": "relaxed"})

    def start(self, events: int, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.support.following_host", str(events), str(self.handled), *options]
        return subprocess.Popen(command, cwd=ROOT, env=self._env, stdin=subprocess.DEVNULL)

    def run(self, events: int, *options: str) -> int:
        return self.start(events, *options).wait(END_WITHIN)

    def runs(self) -> list[list[int]]:
        """What the handler was given in each run."""
        parts = self.handled.read_text().split("begun\n")[1:]
        return [[int(line) for line in part.splitlines()] for part in parts]

    def query(self, query: sa.Executable) -> list[int]:
        engine = self._database.reading(1)
        with engine.begin() as connection:
            found = list(connection.execute(query).scalars())
        engine.dispose()
        return found


@pytest.fixture
def host(data_folder, database_url):
    return Host(data_folder, database_url)


def check(host: Host) -> None:
    (head,) = host.query(sa.text("SELECT position FROM head"))
    assert host.query(seen()) == list(range(1, head + 1))
    runs = host.runs()
    assert {position for run in runs for position in run} == set(range(1, head + 1))
    for run in runs:
        assert run == sorted(set(run))
    for earlier, later in pairwise([run for run in runs if run]):
        assert later[0] <= earlier[-1] + 1


def test_a_kill_between_effect_and_position_counts_nothing_twice(host):
    for die_at in (3, 25, 45):
        assert host.run(30, "--die-at", str(die_at)) == -signal.SIGKILL
        (position,) = host.query(sa.text("SELECT position FROM tracking WHERE name = 'seen'"))
        assert host.query(seen()) == list(range(1, position + 1))
        assert position < die_at
    assert host.run(10) == 0
    check(host)


def test_a_kill_at_any_moment_counts_nothing_twice_and_skips_nothing(host, seed, findings):
    chance = random.Random(seed)
    with findings.round("kill -9 of a host", seed):
        for _ in range(3):
            running = host.start(2_000)
            runs = len(host.runs()) if host.handled.exists() else 0
            until(lambda runs=runs: host.handled.exists() and len(host.runs()) > runs and host.runs()[-1], within=30)
            time.sleep(chance.uniform(0, 0.5))
            running.kill()
            assert running.wait(END_WITHIN) == -signal.SIGKILL
        assert host.run(10) == 0
        check(host)
