"""Seconds of CPU that processes have used. Linux only."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def process_cpu(pid: int) -> float:
    """Of a process: all its threads, user and system, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)


def processes_cpu(pids: Iterable[int]) -> float:
    """Of several processes that run."""
    return sum(map(process_cpu, pids))


def database_cpu(postmaster: int | None) -> float:
    """Of a PostgreSQL server: its processes, those that have ended included. None is no server: it has used nothing."""
    if postmaster is None:
        return 0.0
    folder = Path("/proc") / str(postmaster)
    of_ended = (folder / "stat").read_text().rpartition(")")[2].split()[13:15]
    used = process_cpu(postmaster) + sum(map(int, of_ended)) / _TICKS
    for child in (folder / "task" / str(postmaster) / "children").read_text().split():
        with suppress(OSError):  # it has just ended
            used += process_cpu(int(child))
    return used
