"""What a tool of an agent gives back, and the tools that there always are: none of them needs a network."""

import ast
import csv
import io
import math
import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from chatledger.application.ports.generator import FileMade
from chatledger.domain.values import Resource

_MAX_EXPRESSION = 500
_MAX_EXPONENT = 1_000
_MAX_CELLS = 20_000
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(math, name) for name in ("ceil", "cos", "exp", "floor", "log", "log10", "sin", "sqrt", "tan")},
    **{function.__name__: function for function in (abs, max, min, round)},
}

Cell = str | int | float | bool | None


class ToolError(Exception):
    """What a tool could not do, in words for the model, which the end user may read as well."""


class ToolOutput(msgspec.Struct, frozen=True):
    """What a tool found or did.

    Attributes:
        observation: what the model is told; any value that JSON can hold.
        files: what it made for the end user.
        resources: the passages that an answer from it rests on.
    """

    observation: Any
    files: tuple[FileMade, ...] = ()
    resources: tuple[Resource, ...] = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> Mapping[str, str]:
        """What pydantic is to tell models of it: nothing, as they are shown the observation."""
        return {"type": "any"}


def current_time(time_zone: str = "UTC") -> str:
    """Tell the date and the time.

    Args:
        time_zone: an IANA name, such as Europe/Berlin.
    """
    try:
        now = datetime.now(ZoneInfo(time_zone))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ToolError(f"There is no time zone {time_zone!r}.") from error
    return f"{now:%A}, {now.isoformat(timespec='seconds')}"


def calculate(expression: str) -> int | float | bool:
    """Work out an arithmetic expression, such as (3 + 4) ** 2 / sqrt(2).

    Args:
        expression: of numbers, the operators + - * / // % **, comparisons, pi, e, and the functions abs, ceil, cos,
            exp, floor, log, log10, max, min, round, sin, sqrt and tan.
    """
    import simpleeval  # noqa: PLC0415 - an extra, like the agent itself

    if len(expression) > _MAX_EXPRESSION:
        raise ToolError(f"An expression may have {_MAX_EXPRESSION} characters.")
    operators = {
        operation: function
        for operation, function in simpleeval.DEFAULT_OPERATORS.items()
        if operation not in {ast.LShift, ast.RShift, ast.In, ast.NotIn}
    }
    evaluator = simpleeval.SimpleEval(
        operators=operators | {ast.Pow: _power}, functions=_FUNCTIONS, names={"pi": math.pi, "e": math.e}
    )
    try:
        value = evaluator.eval(expression, previously_parsed=ast.parse(expression.strip(), mode="eval").body)
        is_number = isinstance(value, int | float) and (isinstance(value, int) or math.isfinite(value))
        # Python writes out no whole number of more digits than this.
        if not is_number or abs(value) >= 10**300:
            raise ToolError("That is no number, or one that is too large.")
    except (simpleeval.InvalidExpression, ArithmeticError, SyntaxError, TypeError, ValueError, RecursionError) as error:
        raise ToolError(f"That cannot be worked out: {error}") from error
    return value


def write_table(file_name: str, columns: list[str], rows: list[list[Cell]]) -> ToolOutput:
    """Write a table into a CSV file for the user.

    Args:
        file_name: a name without folders, such as sales.csv.
        columns: the headings.
        rows: the values of each row, in the order of the columns.
    """
    if len(columns) * (len(rows) + 1) > _MAX_CELLS:
        raise ToolError(f"A table may have {_MAX_CELLS} cells.")
    if any(len(row) != len(columns) for row in rows):
        raise ToolError("Each row needs one value for each column.")
    text = io.StringIO(newline="")
    csv.writer(text).writerows([columns, *rows])
    stem = file_name.replace("\\", "/").rpartition("/")[2].removesuffix(".csv").strip(". ") or "table"
    file = FileMade(f"{stem}.csv", text.getvalue().encode())
    return ToolOutput(f"{file.name} with {len(rows)} rows is attached to the answer.", files=(file,))


def _power(base: float, exponent: float) -> float:
    """Bounded: some powers that are quickly asked for take for ever."""
    if abs(exponent) > _MAX_EXPONENT or abs(base) > 10**100:
        raise ToolError("That power is too large.")
    return operator.pow(base, exponent)
