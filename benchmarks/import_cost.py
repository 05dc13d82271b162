"""What it costs a host to name chatledger, beside a Python that does nothing."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figure import Figure, at_most, spread
from benchmarks.servers import environment
from benchmarks.stores import Options

NEEDS_NO_STORE = True

STATEMENTS = ("import chatledger", "from chatledger import Chatledger", "from chatledger import Chatledger, Settings")


def measure(options: Options) -> list[Figure]:
    """Whole processes, from start to end; compiled modules are at hand. The cost is what comes on top of the floor."""
    repeats = options.choose(full=21, quick=7, tiny=1)
    floor: list[float] = []
    times: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for _ in range(repeats + 1):
        floor.append(_milliseconds("pass", options.folder))
        for statement in STATEMENTS:
            times[statement].append(_milliseconds(statement, options.folder))
    bare = statistics.median(floor[1:])
    figures = []
    for statement, all_times in times.items():
        costs = [taken - bare for taken in all_times[1:]]  # the first one may have compiled modules
        figures.append(
            Figure(
                name=f"import cost, `{statement}`",
                measured=f"{spread(costs, '.0f')} ms",
                floor=f"python -c pass: {bare:.0f} ms",
                goals=[at_most(statistics.median(costs), 150, " ms")],
                detail={"milliseconds": all_times[1:], "floor": floor[1:]},
            )
        )
    return figures


def _milliseconds(statement: str, folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], cwd=folder, env=environment({}), check=True, timeout=60)
    return 1000 * (time.perf_counter() - began)
