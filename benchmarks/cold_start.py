"""From the start of the process to the line that says it is ready."""

import shutil
import statistics
import time
from contextlib import AbstractContextManager

from benchmarks.harness import Figure, Options, Server, bare_asgi, data_folder, serve, spread

NAME = "cold start to ready"


def measure(options: Options) -> list[Figure]:
    """With an empty data folder, and with one that is there; compiled modules are at hand in both cases."""
    repeats = options.choose(full=7, quick=3, tiny=1)
    bare: list[float] = []
    empty: list[float] = []
    existing: list[float] = []
    with data_folder(options) as folder:
        existing_folder = folder / "existing"
        _took(serve(existing_folder))
        for number in range(repeats):
            fresh = folder / f"fresh-{number}"
            bare.append(_took(bare_asgi()))
            empty.append(_took(serve(fresh)))
            existing.append(_took(serve(existing_folder)))
            shutil.rmtree(fresh)
    floor = f"bare ASGI application: {statistics.median(bare):.2f} s"
    return [
        Figure(
            name=f"{NAME}, {what}",
            measured=f"{spread(times, '.2f')} s",
            floor=floor,
            ratio=statistics.median(times) / statistics.median(bare),
            goal="<= 1.5 s",
            met=statistics.median(times) <= 1.5,
            detail={"seconds": times, "floor": bare},
        )
        for what, times in (("empty data folder", empty), ("existing data folder", existing))
    ]


def _took(starting: AbstractContextManager[Server]) -> float:
    began = time.perf_counter()
    with starting:
        return time.perf_counter() - began
