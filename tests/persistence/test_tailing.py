"""Whoever follows the ledger misses nothing and sees nothing twice, whatever the number of writers.

For longer: ``./test tests/persistence/test_tailing.py --tail-seconds 60``.
"""

import subprocess
import sys
import time
from contextlib import closing

import pytest

from chatledger.adapters.clock import SystemClock, new_id
from chatledger.adapters.persistence.open_ledgers import share_ledger
from chatledger.adapters.persistence.recorder import SqlRecorder

pytestmark = pytest.mark.postgres

PROCESSES = 4
WRITERS_EACH = 4
START_WITHIN = 60.0

WRITER = """
import random, sys, threading, time
from contextlib import closing
from eventsourcing.persistence import StoredEvent
from chatledger.adapters.clock import SystemClock, new_id
from chatledger.adapters.persistence.open_ledgers import share_ledger
from chatledger.adapters.persistence.recorder import SqlRecorder

url, writers = sys.argv[1], int(sys.argv[2])

def write(recorder, dice):
    while not over.is_set():
        count = dice.choice([1, 1, 1, 3, 10, 80])
        stream_id = new_id()
        recorder.insert_events([StoredEvent(stream_id, number + 1, "written", b"{}") for number in range(count)])
        written.append(count)

over, written, failures = threading.Event(), [], []
threading.excepthook = lambda failure: failures.append(repr(failure.exc_value))
with closing(share_ledger(url, "relaxed", SystemClock(), new_id)) as share:
    recorder = SqlRecorder(share, "Tale")
    threads = [threading.Thread(target=write, args=(recorder, random.Random(n))) for n in range(writers)]
    print("ready", flush=True)
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    over.set()
    for thread in threads:
        thread.join()
print(sum(written) if not failures else failures[0], flush=True)
"""


def test_a_subscriber_sees_each_event_of_16_writers_once(postgres_server, migrated_database, request):
    seconds = request.config.getoption("--tail-seconds")
    url = postgres_server.fresh_database(migrated_database)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(WRITERS_EACH)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    try:
        assert [process.stdout.readline() for process in writers] == ["ready\n"] * PROCESSES
        share = share_ledger(url, "relaxed", SystemClock(), new_id)
        with closing(share), SqlRecorder(share, "Tale").subscribe() as subscription:
            tell(writers)
            seen, deadline = [], time.monotonic() + seconds
            while time.monotonic() < deadline:
                seen.append(next(subscription).id)
            tell(writers)
            outcomes = [process.stdout.readline().strip() for process in writers]
            assert all(outcome.isdecimal() for outcome in outcomes), outcomes
            written = sum(map(int, outcomes))
            while len(seen) < written:
                seen.append(next(subscription).id)
        assert seen == list(range(1, written + 1))
        print(f"{written} events of {PROCESSES * WRITERS_EACH} writers in {seconds:g} s, each seen once, in order")
    finally:
        for process in writers:
            process.kill()
            process.communicate()


def tell(writers: "list[subprocess.Popen[str]]") -> None:
    for process in writers:
        process.stdin.write("\n")
        process.stdin.flush()
