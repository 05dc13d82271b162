"""Each figure at a tiny size: that the harness works, not what it measures."""

from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.harness import Options, table

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", run.FIGURES)
def test_a_figure_can_be_measured(name: str, tmp_path: Path) -> None:
    figures = import_module(f"benchmarks.{name}").measure(Options(folder=tmp_path, size="tiny"))
    assert figures
    for figure in figures:
        assert figure.measured
        assert figure.goal
        assert figure.met is not None
    assert len(table(figures).splitlines()) == len(figures) + 2
    assert list(tmp_path.iterdir()) == []


def test_the_surroundings_are_told(tmp_path: Path) -> None:
    assert "per fdatasync" in run.surroundings(Options(folder=tmp_path, size="tiny"))
