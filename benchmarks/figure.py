"""One line of the report, the goals that it has, and the statistics that it is made of."""

import statistics
from collections.abc import Sequence
from typing import Any

import msgspec

MOST = 1_000.0
"""As often as this a goal can be reached where nothing is measurable."""


class Goal(msgspec.Struct, frozen=True):
    """What a figure is to reach.

    Attributes:
        reached: 1 where it is met exactly, 2 where the figure is twice as good, 0.5 where it is half as good.
    """

    text: str
    reached: float


def at_least(value: float, bound: float, unit: str = "") -> Goal:
    """More is better."""
    return Goal(f">= {bound:,}{unit}", value / bound)


def at_most(value: float, bound: float, unit: str = "") -> Goal:
    """Less is better."""
    return Goal(f"<= {bound:,}{unit}", bound / max(value, bound / MOST))


class Share(msgspec.Struct, frozen=True):
    """A function in a profile.

    Attributes:
        own: the share of all samples that were taken in it, from 0 to 1.
        total: the same with all that it called.
    """

    function: str
    own: float
    total: float


class Figure(msgspec.Struct, kw_only=True):
    """One line of the report.

    Attributes:
        ratio: to the floor; the median over pairs that ran one after the other, where there are such.
        less_is_better: whether the ratio is one of costs. Else it is one of rates.
        goals: all of them have to be reached. Without any nothing was asked of this figure on this database.
        profile: where the measured process spent its time, if that was asked for.
    """

    name: str
    measured: str
    floor: str = ""
    ratio: float | None = None
    less_is_better: bool = False
    goals: Sequence[Goal] = ()
    detail: dict[str, Any] = {}
    profile: Sequence[Share] = ()
    database: str = ""

    @property
    def goal(self) -> str:
        """All goals in words."""
        return " and ".join(goal.text for goal in self.goals)

    @property
    def reached(self) -> float | None:
        """How much of the farthest goal."""
        return min((goal.reached for goal in self.goals), default=None)

    @property
    def is_missed(self) -> bool:
        """Whether one of the goals is not reached."""
        return self.reached is not None and self.reached < 1


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """The median, and from where to where the values went."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def median_ratio(values: Sequence[float], floors: Sequence[float]) -> float:
    """The median over pairs that were measured one after the other."""
    return statistics.median(value / floor for value, floor in zip(values, floors, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def table(figures: Sequence[Figure]) -> str:
    """All figures as a Markdown table."""
    rows = [("figure", "database", "measured", "floor", "ratio", "goal", "")]
    rows += [
        (
            figure.name,
            figure.database,
            figure.measured,
            figure.floor,
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.goal,
            _verdict(figure),
        )
        for figure in figures
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]])


def profiles(figures: Sequence[Figure]) -> str:
    """Where the time went, of each figure that misses a goal and has a profile."""
    return "\n".join(
        f"{figure.name}, {figure.database}: "
        + ", ".join(f"{share.function} {share.own:.0%} ({share.total:.0%})" for share in figure.profile)
        for figure in figures
        if figure.is_missed and figure.profile
    )


def _verdict(figure: Figure) -> str:
    if figure.reached is None:
        return ""
    return "**missed**" if figure.is_missed else "met"
