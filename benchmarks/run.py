"""Measures the figures that are named, or all of them, and prints them as one table."""

import argparse
import gc
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import msgspec

from benchmarks.harness import Figure, Options, table

FIGURES = (
    "tokens_per_cpu_second",
    "first_token",
    "streams_at_pace",
    "appends_per_second",
    "load_message",
    "stored_bytes",
    "cold_start",
    "import_cost",
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 if a figure could not be measured. A missed goal is no failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[[], *FIGURES], metavar="figure", help=", ".join(FIGURES))
    parser.add_argument("--quick", action="store_true", help="fewer repeats: a first impression")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()), help="where the data folders go")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured as JSON")
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="profile the server with py-spy, if it is there")
    arguments = parser.parse_args(argv)
    options = Options(
        folder=arguments.dir.absolute(), size="quick" if arguments.quick else "full", profile=arguments.profile
    )
    before = surroundings(options)
    print(before, flush=True)
    measured, failed = measure(arguments.figures or FIGURES, options)
    after = f"afterwards: {state(options)}"
    print(f"\n{table(measured)}\n\n{after}")
    if arguments.json:
        found = {"surroundings": [before, after], "figures": msgspec.to_builtins(measured), "failed": failed}
        arguments.json.write_text(json.dumps(found, indent=1))
    return 1 if failed else 0


def measure(names: Sequence[str], options: Options) -> tuple[list[Figure], list[str]]:
    """The figures, and the names of those that could not be measured."""
    measured: list[Figure] = []
    failed: list[str] = []
    for name in names:
        print(f"... {name}", file=sys.stderr, flush=True)
        gc.collect()
        try:
            measured += import_module(f"benchmarks.{name}").measure(options)
        except Exception as error:  # noqa: BLE001 - the others are still worth having
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            failed.append(name)
    return measured, failed


def surroundings(options: Options) -> str:
    """What has to be known to read the figures."""
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} CPUs"
    how = "medians (lowest to highest); the collector is on in the servers, off in the client while it measures"
    return f"{versions}; {state(options)}; {how}"


def state(options: Options) -> str:
    """How busy the machine is, and how long its disk takes to make a page durable."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"load {load}; {sync_milliseconds(options):.1f} ms per fdatasync"


def sync_milliseconds(options: Options) -> float:
    """The median over some pages, each appended and synced like a commit."""
    times = []
    with tempfile.TemporaryFile(dir=options.folder) as file:
        for _ in range(options.choose(full=50, quick=50, tiny=2)):
            began = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fdatasync(file.fileno())
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)
