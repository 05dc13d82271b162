"""Measures the figures that are named, or all of them, on each database, and prints them as one table."""

import argparse
import gc
import json
import os
import platform
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import get_args

import msgspec
import psycopg

from benchmarks.figure import Figure, profiles, table
from benchmarks.profiles import find_sampler
from benchmarks.stores import DatabaseName, Options
from tests.support.postgres import NoPostgresError, PostgresServer, find_binaries

FIGURES = (
    "tokens_per_cpu_second",
    "first_token",
    "streams_at_pace",
    "appends_per_second",
    "load_message",
    "page_cost",
    "stored_bytes",
    "message_bytes",
    "rebuild_rate",
    "verify_rate",
    "open_followers",
    "stop_latency",
    "take_over",
    "across_nodes",
    "stop_across_nodes",
    "take_over_across_nodes",
    "two_nodes",
    "cold_start",
    "import_cost",
)
DATABASES: tuple[DatabaseName, ...] = get_args(DatabaseName)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 if a figure could not be measured. A missed goal is no failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[[], *FIGURES], metavar="figure", help=", ".join(FIGURES))
    parser.add_argument("--database", choices=DATABASES, help="this one only")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: a first impression")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()), help="where the data go")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured as JSON")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw it (.svg, .png); beside FILE of --json by default"
    )
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="profile the measured processes with py-spy")
    arguments = parser.parse_args(argv)
    _require_tools(parser, plot=arguments.plot is not None, profile=arguments.profile is not None)
    databases = [arguments.database] if arguments.database else DATABASES
    size = "quick" if arguments.quick else "full"
    if "postgres" in databases:
        try:
            find_binaries()
        except NoPostgresError as error:
            parser.error(f"{error}; --database sqlite does without")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with postgres(arguments.dir.absolute(), databases) as server:
        options = Options(folder=arguments.dir.absolute(), size=size, postgres=server, profile=arguments.profile)
        before = surroundings(options)
        print(before, flush=True)
        measured, failed = measure(arguments.figures or FIGURES, databases, options)
        after = f"afterwards: {state(options)}"
    print("\n".join(["", table(measured), "", after, *(f"not measured: {name}" for name in failed)]))
    if where := profiles(measured):
        print(f"\nWhere it goes in what misses its goal, alone (and with what is called from there):\n\n{where}")
    if arguments.json:
        arguments.json.write_text(json.dumps(_report([before, after], measured, failed), indent=1))
    plot = arguments.plot
    if arguments.json and not plot and _can_draw():
        plot = arguments.json.with_suffix(".svg")
    if plot:
        from benchmarks.plot import draw

        draw(measured, plot)
    return 1 if failed else 0


def _require_tools(parser: argparse.ArgumentParser, *, plot: bool, profile: bool) -> None:
    if plot and not _can_draw():
        parser.error("there is no matplotlib to draw with: run this with --group benchmarks")
    if profile:
        try:
            find_sampler()
        except LookupError as error:
            parser.error(str(error))


def _can_draw() -> bool:
    return find_spec("matplotlib") is not None


@contextmanager
def postgres(folder: Path, databases: Sequence[DatabaseName]) -> Iterator[PostgresServer | None]:
    """A server that survives a power cut, where one is needed."""
    if "postgres" not in databases:
        yield None
        return
    with PostgresServer(fsync=True, below=folder) as server:
        yield server


def measure(
    names: Sequence[str], databases: Sequence[DatabaseName], options: Options
) -> tuple[list[Figure], list[str]]:
    """The figures, and the names of those that could not be measured. Whoever interrupts gets what there is."""
    measured: list[Figure] = []
    failed: list[str] = []
    for name in names:
        module = import_module(f"benchmarks.{name}")
        for database in measured_on(module, databases):
            print(f"... {name}, {database}", file=sys.stderr, flush=True)
            gc.collect()
            on_database = options if database == "postgres" else msgspec.structs.replace(options, postgres=None)
            began = time.perf_counter()
            try:
                figures = module.measure(on_database)
            except KeyboardInterrupt:
                failed.append(f"{name}, {database}, and all that follows: interrupted")
                return measured, failed
            except Exception as error:  # noqa: BLE001 - the others are still worth having
                print(f"{name}, {database}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                failed.append(f"{name}, {database}")
                continue
            for figure in figures:
                figure.database = database
            measured += figures
            print(f"    {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return measured, failed


def measured_on(module: ModuleType, databases: Sequence[DatabaseName]) -> Sequence[DatabaseName]:
    """Those of the databases on which there is something to measure."""
    if getattr(module, "NEEDS_NO_STORE", False):
        return databases[:1]
    return [name for name in databases if name in getattr(module, "DATABASES", DATABASES)]


def _report(told: Sequence[str], measured: Sequence[Figure], failed: Sequence[str]) -> dict[str, object]:
    figures = [
        msgspec.to_builtins(figure) | {"goal": figure.goal, "reached": figure.reached, "missed": figure.is_missed}
        for figure in measured
    ]
    return {"surroundings": told, "figures": figures, "failed": failed}


def surroundings(options: Options) -> str:
    """What has to be known to read the figures."""
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    if options.postgres is not None:
        with psycopg.connect(options.postgres.dsn) as connection:
            versions += f", PostgreSQL {connection.info.parameter_status('server_version')}"
    how = "medians (lowest to highest); the collector is on in the servers, off in the client while it measures"
    return f"{versions}, {os.cpu_count()} CPUs; {state(options)}; {how}"


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
