"""A part of the ferry line in a process of its own, until its stdin is closed or it is killed.

``follow`` projects the manifest. ``work`` does, too, and books for the crossing whose id comes next, one after another,
and prints each number once it is booked.
"""

import itertools
import select
import sys
from uuid import UUID

from eventsourcing.projection import ProjectionRunner

from tests.ferry.line import Ferry, Manifest
from tests.ferry.manifest import SqlManifest


def is_over() -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable)


with ProjectionRunner(application_class=Ferry, projection_class=Manifest, view_class=SqlManifest) as runner:
    print("ready", flush=True)
    if sys.argv[1] == "follow":
        sys.stdin.read()
    else:
        crossing_id = UUID(sys.argv[2])
        for number in itertools.count(len(runner.app.passengers(crossing_id)) + 1):
            if is_over():
                break
            runner.app.book(crossing_id, f"passenger {number}")
            print(number, flush=True)
