"""When one question is another: the rules by which an annotation answers."""

from collections.abc import Sequence
from math import sqrt
from operator import mul

MAX_ANNOTATIONS = 2_000
"""Of one app: each question is compared with all of them."""


def essence_of(question: str) -> str:
    """What is left of a question where case and blanks do not count. Questions with one essence are equal."""
    return " ".join(question.casefold().split())


def likeness(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors of one length; 0 where one of them points nowhere."""
    lengths = sqrt(sum(map(mul, one, one)) * sum(map(mul, other, other)))
    return sum(map(mul, one, other)) / lengths if lengths else 0.0
