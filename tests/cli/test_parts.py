"""The parts of commands that a process test reaches badly."""

import io
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatledger.adapters.cli.console import ProgressLine
from chatledger.adapters.cli.daemon import OneLineFormatter
from chatledger.adapters.cli.people import list_holds
from chatledger.adapters.persistence.comparing import differing, place_in_order
from chatledger.application.ports.erasure import Hold
from chatledger.application.ports.views import Page
from chatledger.settings import Settings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_drawn_on_a_terminal_up_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    line = ProgressLine("rebuild")
    for done in (1, 2, 4):
        line(done, 4)
    assert terminal.getvalue() == "\rrebuild: 1 of 4 events, 25 %\rrebuild: 4 of 4 events, 100 %\n"


def test_progress_is_not_drawn_into_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    ProgressLine("rebuild")(4, 4)
    assert capsys.readouterr() == ("", "")


def test_a_log_line_is_one_line_without_the_text_of_an_exception() -> None:
    try:
        int("what ann\nwrote")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "it\nfailed", None, sys.exc_info())
    line = OneLineFormatter("%(levelname)s %(message)s").format(record)
    assert line.startswith("ERROR it failed [ValueError in ")
    assert "ann" not in line
    assert "\n" not in line


values = st.none() | st.integers(0, 3) | st.sampled_from(["", "a"]) | st.sampled_from([b"", b"a"])
tables = st.dictionaries(st.tuples(values, values), st.integers(0, 1), max_size=8)


@given(tables, tables)
def test_a_comparison_names_each_row_that_is_not_the_same(live: dict, replayed: dict) -> None:
    def rows(table: dict) -> list:
        return sorted(((*key, value) for key, value in table.items()), key=lambda row: place_in_order(row, 2))

    different = [key for key in live.keys() | replayed.keys() if live.get(key) != replayed.get(key)]
    found = list(differing(iter(rows(live)), iter(rows(replayed)), 2))
    assert found == sorted(different, key=lambda key: place_in_order(key, 2))


def test_holds_are_all_listed_where_one_at_the_end_of_a_page_is_released_meanwhile(monkeypatch):
    """A page is None where the hold to go on from is none any more."""
    held = [
        Hold(hold_id=UUID(int=n), end_user_id=UUID(int=n), app_id=UUID(int=n), reason="a case", placed_at=n)
        for n in (4, 3, 2)
    ]
    pages = [([held[0], held[1]], True), None, ([held[0]], True), ([held[2]], False)]

    class Erasures:
        async def holds(self, app_id: UUID | None, page: Page) -> tuple[list[Hold], bool] | None:
            return pages.pop(0)

    @asynccontextmanager
    async def reading(settings: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(erasures=Erasures())

    monkeypatch.setattr("chatledger.bootstrap.open_for_reading", reading)
    found = list_holds(Settings(), None).data
    assert [hold["hold_id"] for hold in found] == [held[0].hold_id, held[2].hold_id]
