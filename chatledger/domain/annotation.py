"""When one question is like another: the rules by which an annotation answers."""

from collections.abc import Sequence
from math import sqrt
from operator import mul

MAX_ANNOTATIONS = 2_000
"""Of one app: each question is compared with all of them."""


def essence_of(question: str) -> str:
    """What is left of a question where case and blanks do not count. Questions with one essence are equal."""
    return " ".join(question.casefold().split())


def unit(vector: Sequence[float]) -> list[float]:
    """The vector of length 1 that points where this one does; the zero vector stays what it is."""
    length = sqrt(sum(map(mul, vector, vector))) or 1.0
    return [component / length for component in vector]


def likeness(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors of length 1."""
    return sum(map(mul, one, other))
