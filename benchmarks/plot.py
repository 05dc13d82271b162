"""All figures as one picture: how much of its goal each reaches, and how it compares with its floor."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter

from benchmarks.figure import Figure

LOOKS = {"sqlite": ("SQLite", "#1f5f8b", "o", -0.14), "postgres": ("PostgreSQL", "#d1802b", "D", 0.14)}
NARROWEST, WIDEST = 1 / 32, 8.0

Value = Callable[[Figure], float | None]


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Draw them; the name of the file says as what."""
    names = list(dict.fromkeys(figure.name for figure in figures))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "chatledger", "font.size": 9}):
        picture = Picture(figsize=(11, 1.2 + 0.34 * len(names)), layout="constrained")
        by_goal, by_floor = picture.subplots(1, 2, sharey=True)
        _fill(by_goal, figures, names, lambda figure: figure.reached, "of its goal (1: reached; right of it: better)")
        _fill(by_floor, figures, names, _as_good_as_floor, "of its floor (1: as good; right of it: better)")
        picture.legend(*by_goal.get_legend_handles_labels(), loc="outside lower center", ncols=len(LOOKS))
        picture.savefig(path)


def _as_good_as_floor(figure: Figure) -> float | None:
    if not figure.ratio:
        return None
    return 1 / figure.ratio if figure.less_is_better else figure.ratio


def _fraction(number: float, _place: int) -> str:
    return f"{number:g}" if number >= 1 else f"1/{1 / number:g}"


def _fill(axes: Axes, figures: Sequence[Figure], names: Sequence[str], value: Value, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xscale("log", base=2)
    axes.set_xlim(NARROWEST, WIDEST)
    axes.xaxis.set_major_formatter(FuncFormatter(_fraction))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", color="#dddddd")
    axes.axvline(1, color="#444444", linewidth=1)
    axes.set_axisbelow(True)
    for database, (label, color, marker, shift) in LOOKS.items():
        points = [
            (min(max(found, NARROWEST), WIDEST), names.index(figure.name) + shift)
            for figure in figures
            if figure.database == database and (found := value(figure)) is not None
        ]
        if points:
            axes.scatter(
                *zip(*points, strict=True), label=label, color=color, marker=marker, s=28, zorder=3, clip_on=False
            )
