"""From the start of the process to the line that says it is ready."""

import statistics
import time
from contextlib import AbstractContextManager

from benchmarks.figure import Figure, at_most, median_ratio, spread
from benchmarks.servers import Server, bare_asgi, serve
from benchmarks.stores import Options, empty_store

NAME = "cold start to ready"


def measure(options: Options) -> list[Figure]:
    """On an empty store, and on one that is there; compiled modules are at hand, and a database's server runs."""
    repeats = options.choose(full=7, quick=3, tiny=1)
    bare: list[float] = []
    empty: list[float] = []
    existing: list[float] = []
    with empty_store(options) as lasting:
        _took(serve(lasting))
        for _ in range(repeats):
            bare.append(_took(bare_asgi()))
            with empty_store(options) as fresh:
                empty.append(_took(serve(fresh)))
            existing.append(_took(serve(lasting)))
    return [
        Figure(
            name=f"{NAME}, {what}",
            measured=f"{spread(times, '.2f')} s",
            floor=f"bare ASGI application: {spread(bare, '.2f')} s",
            ratio=median_ratio(times, bare),
            less_is_better=True,
            goals=[at_most(statistics.median(times), 1.5, " s")],
            detail={"seconds": times, "floor": bare},
        )
        for what, times in (("empty store", empty), ("existing store", existing))
    ]


def _took(starting: AbstractContextManager[Server]) -> float:
    began = time.perf_counter()
    with starting:
        return time.perf_counter() - began
