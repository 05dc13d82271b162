"""What a driver tells of each call that it makes: a line of JSON on standard output."""

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

HOUSE: dict[str, Any] = json.loads(os.environ["HOUSE"])
"""Where the server is, the keys of its apps, and what they answer."""


class Calls:
    """The calls of a client: those that were made, and how each went."""

    def __init__(self) -> None:
        self._made: set[str] = set()

    @contextmanager
    def __call__(self, call: str, how: str = "", *, absent: str = "") -> Iterator[None]:
        """One call, with the checks that its user would make.

        ``absent`` says what the server has not got; the block then checks that it says so.
        """
        self._made.add(call)
        fault = ""
        try:
            yield
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever it is, it is the finding
            fault = traceback.format_exc(limit=-3)
        _tell(call=call, how=how, absent=absent, fault=fault)

    def end(self, *kinds: type[Any]) -> None:
        """Tell which public calls of these classes nobody made."""
        for kind in kinds:
            for name, member in vars(kind).items():
                call = f"{kind.__name__}.{name}"
                if callable(member) and not name.startswith("_") and call not in self._made:
                    _tell(call=call, how="", absent="", fault="the driver does not make this call")


def _tell(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
