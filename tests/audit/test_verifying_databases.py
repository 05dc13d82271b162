"""Verifying on either database."""

from pathlib import Path

import pytest

from tests.audit.exports import busy_store
from tests.audit.ledgers import Signer, changed, sizes_of, trail_of, url_of, verified, write_ledger

EVENTS = 1_100
NOTARY = Signer()


@pytest.fixture
def url(database_url: str | None, tmp_path: Path) -> str:
    return database_url or url_of(tmp_path / "ledger.db")


def test_what_is_found_on_either_database(url: str) -> None:
    trail = write_ledger(url, EVENTS, NOTARY)
    assert verified(url, NOTARY.key, since=list(trail.notes.values())).is_intact

    with changed(url) as connection:
        connection.exec_driver_sql("UPDATE events SET leaf = sealed WHERE position = 700")
    assert verified(url).first_bad == (700, 700)

    with changed(url) as connection:
        connection.exec_driver_sql("UPDATE streams SET key_id = stream_id WHERE number = 5")
        ((first,),) = connection.exec_driver_sql("SELECT min(position) FROM events WHERE stream = 5")
    assert verified(url).first_bad == (first, first)

    with changed(url) as connection:
        connection.exec_driver_sql("UPDATE streams SET number = -5 WHERE number = 5")
        connection.exec_driver_sql("DELETE FROM events WHERE position = 3")
    report = verified(url)
    assert report.first_bad == (3, 3)
    assert {"missing", "stream", "changed"} <= {finding.kind for finding in report.findings}


def test_what_a_busy_ledger_holds_is_sound(database_url: str | None, url: str, tmp_path: Path) -> None:
    with busy_store(tmp_path, database_url, seed=5, steps=80) as store:
        report = verified(url)
        # The notary there introduces keys that are made up.
        assert {finding.text for finding in report.findings} == {"the notary's key that it introduces is none"}
        with store.ledger.write() as transaction:
            assert report.events == transaction.head().position > 80


def test_a_forged_checkpoint_and_tile_are_found_on_either_database(url: str) -> None:
    write_ledger(url, EVENTS, NOTARY)
    size = sizes_of(EVENTS)[-1]
    forged = trail_of([bytes(32)] * EVENTS, [size], NOTARY).notes[size]
    with changed(url) as connection:
        connection.exec_driver_sql("UPDATE tiles SET level = 3 WHERE number = 2")
    assert {finding.kind for finding in verified(url).findings} == {"tile"}
    assert not verified(url, since=[forged]).is_intact
