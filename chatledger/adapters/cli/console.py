"""How commands speak: JSON or text on stdout, refusals and progress on stderr."""

import json
import sys
import time
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

SUCCESS, REFUSED, WRONG_USAGE = 0, 1, 2
"""What a command exits with: done; refused, or a problem found; wrong usage or a wrong setting."""

SECONDS_BETWEEN_DRAWINGS = 0.1

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_JOINERS = "\u200c\u200d"
"""Hidden too, but letters of some scripts and many pictures need them, and no terminal obeys them."""


class CommandFailedError(Exception):
    """A command cannot do its work; the text is the line that says why."""

    def __init__(self, reason: str, exit_code: int = REFUSED) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class Result(msgspec.Struct, frozen=True):
    """What a command found or did.

    Attributes:
        data: what ``--json`` prints.
        text: what is printed without it.
    """

    data: Any
    text: str
    exit_code: int = SUCCESS


def show(result: Result, *, as_json: bool) -> None:
    """Print a result."""
    if as_json:
        print(escaped(json.dumps(msgspec.to_builtins(result.data), ensure_ascii=False)), flush=True)
    else:
        print(result.text, flush=True)


def escaped(text: str) -> str:
    """The text with its control characters as JSON writes them: a name may hold some, and a terminal obeys them."""
    if text.isprintable():
        return text
    return "".join(json.dumps(character)[1:-1] if is_hidden(character) else character for character in text)


def is_hidden(character: str) -> bool:
    """Whether a terminal shows nothing for a character, but may obey it."""
    return unicodedata.category(character) in _HIDDEN and character not in _JOINERS


def complain(reason: object) -> None:
    """One line on stderr."""
    print(f"chatledger: {escaped(' '.join(str(reason).split()))}", file=sys.stderr, flush=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns under headings."""
    cells = [[escaped(str(value)) for value in row] for row in (headings, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def listing(values: Mapping[str, object]) -> str:
    """Names and values, one pair a line."""
    width = max(len(name) for name in values)
    return "\n".join(f"{name:<{width}}  {escaped(str(value))}" for name, value in values.items())


def moment(microseconds: int) -> str:
    """A stored time, to the second."""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


class ProgressLine:
    """Draws how far long work has come, in units of its own, where stderr is a terminal."""

    def __init__(self, what: str, units: str = "events") -> None:
        self._what = what
        self._units = units
        self._is_terminal = sys.stderr.isatty()
        self._drawn_at = 0.0

    def __call__(self, done: int, total: int) -> None:
        """The work has come this far."""
        now = time.monotonic()
        if not self._is_terminal or (done < total and now - self._drawn_at < SECONDS_BETWEEN_DRAWINGS):
            return
        self._drawn_at = now
        share = 100 if not total else 100 * done // total
        end = "\n" if done >= total else ""
        print(f"\r{self._what}: {done:,} of {total:,} {self._units}, {share} %", end=end, file=sys.stderr, flush=True)
