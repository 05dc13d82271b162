"""Each figure at a tiny size: that the harness works, not what it measures."""

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.figure import Figure, Share, at_least, at_most, profiles, table
from benchmarks.profiles import largest_shares
from benchmarks.stores import Options
from tests.support.postgres import NoPostgresError, PostgresServer

DEAR = {"stop_across_nodes", "take_over_across_nodes", "two_nodes"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def durable_postgres() -> Iterator[PostgresServer]:
    try:
        server = PostgresServer(fsync=True)
    except NoPostgresError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> Options:
    postgres = request.getfixturevalue("durable_postgres") if request.param == "postgres" else None
    return Options(folder=tmp_path, size="tiny", postgres=postgres)


@pytest.mark.parametrize("name", run.FIGURES)
def test_a_figure_can_be_measured(name: str, options: Options, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if name in DEAR and not pytestconfig.getoption("all_figures"):
        pytest.skip("starts many processes, as across_nodes does: with --all-figures")
    if not run.measured_on(import_module(f"benchmarks.{name}"), [options.database]):
        pytest.skip("many nodes need PostgreSQL")
    figures, failed = run.measure([name], [options.database], options)
    assert not failed
    assert figures
    assert {figure.database for figure in figures} == {options.database}
    assert all(figure.measured and figure.floor for figure in figures)
    assert list(tmp_path.iterdir()) == []


def test_the_surroundings_are_told(tmp_path: Path) -> None:
    assert "per fdatasync" in run.surroundings(Options(folder=tmp_path, size="tiny"))


@pytest.fixture
def figures() -> list[Figure]:
    fast = [at_least(120, 100, " a second"), at_most(3, 2, " x the floor")]
    shares = [Share("sync", 0.75, 0.8)]
    return [
        Figure(name="slow", measured="120, but at a price", goals=fast, ratio=3, less_is_better=True, profile=shares),
        Figure(name="slow", measured="240", goals=fast[:1], ratio=0.5, database="postgres", profile=shares),
        Figure(name="told", measured="whatever it is"),
    ]


def test_a_goal_is_missed_if_a_part_of_it_is(figures: list[Figure]) -> None:
    missed, met, without_goal = table(figures).splitlines()[2:]
    assert "| >= 100 a second and <= 2 x the floor | **missed** |" in missed
    assert "| >= 100 a second | met |" in met
    assert "missed" not in without_goal
    assert "met" not in without_goal


def test_what_misses_its_goal_is_told_with_its_profile(figures: list[Figure]) -> None:
    (line,) = profiles(figures).splitlines()
    assert "sync 75% (80%)" in line


def test_the_largest_shares_of_a_profile_come_first(tmp_path: Path) -> None:
    samples = tmp_path / "samples.txt"
    stacks = {"main (a.py:1);read (b.py:2)": 30, "main (a.py:1);write (b.py:9)": 60, "main (a.py:1)": 10}
    samples.write_text("".join(f"thread (0x1);{stack} {count}\n" for stack, count in stacks.items()))
    assert largest_shares(samples)[:2] == [Share("write (b.py:9)", 0.6, 0.6), Share("read (b.py:2)", 0.3, 0.3)]
