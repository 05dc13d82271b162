"""``chatledger serve`` that tells which lines have taken its memory.

At SIGUSR1 it writes to a file in its working directory what they have taken since the signal before: as shares of all
that was taken by Python, which is not all that a process takes.
"""

import gc
import signal
import sys
import tracemalloc
from pathlib import Path

import msgspec

from benchmarks.figure import Share
from chatledger.adapters.cli.main import main

TOLD = "memory.json"

LONGEST = 12
PARTS = 3
"""Of a path that are told."""


class _Teller:
    def __init__(self) -> None:
        self._before = tracemalloc.take_snapshot()

    def tell(self, *_: object) -> None:
        gc.collect()
        now = tracemalloc.take_snapshot()
        lines = now.compare_to(self._before, "lineno")
        taken = sum(line.size_diff for line in lines)
        largest = sorted(lines, key=lambda line: line.size_diff, reverse=True)[:LONGEST]
        shares = [Share(_place(line), line.size_diff / taken, line.size_diff / taken) for line in largest]
        fresh = Path(f"{TOLD}.fresh")
        fresh.write_bytes(msgspec.json.encode(shares))
        fresh.rename(TOLD)
        self._before = now


def _place(line: tracemalloc.StatisticDiff) -> str:
    frame = line.traceback[0]
    return f"{'/'.join(Path(frame.filename).parts[-PARTS:])}:{frame.lineno}"


if __name__ == "__main__":
    tracemalloc.start()
    signal.signal(signal.SIGUSR1, _Teller().tell)
    sys.exit(main())
