"""Verifying an export: like the ledger that it is of."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from chatledger.adapters.keys.ed25519 import is_signed_by
from chatledger.adapters.persistence.database import database_at
from chatledger.application.audit.audited_export import verify_export
from chatledger.application.audit.export_lines import event_line, row_of
from chatledger.application.audit.trust import Trust
from chatledger.application.audit.verification import Report
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.audit import ClaimedCheckpoint
from chatledger.application.system_clock import SystemClock
from tests.audit.exports import export_to
from tests.audit.ledgers import Signer, url_of, write_ledger

EVENTS = 600
NOTARY = Signer()

Lines = list[bytes]


class Exported(msgspec.Struct, frozen=True):
    lines: Lines
    notes: Sequence[bytes]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    trail = write_ledger(url_of(folder / "ledger.db"), EVENTS, NOTARY)
    reading = database_at(url_of(folder / "ledger.db")).reading(1)
    try:
        export_to(folder / "ledger.jsonl", SimpleNamespace(reading=reading, clock=SystemClock()))
    finally:
        reading.dispose()
    return Exported((folder / "ledger.jsonl").read_bytes().splitlines(keepends=True), list(trail.notes.values()))


def verified(lines: Lines, *notes: bytes) -> Report:
    outside = [ClaimedCheckpoint(number, None, None, note, keeper="outside") for number, note in enumerate(notes, 1)]
    file = io.BytesIO(b"".join(lines))
    return verify_export(file, "export", Trust([NOTARY.key], is_signed_by), outside, lambda _done, _total: None)


def test_a_sound_export_is_intact(exported: Exported) -> None:
    report = verified(exported.lines, *exported.notes)
    assert (report.problems, report.events, report.signed) == (0, EVENTS, EVENTS), report.findings


def dropped(lines: Lines) -> None:
    del lines[300]


def swapped(lines: Lines) -> None:
    lines[300], lines[310] = lines[310], lines[300]


def doubled(lines: Lines) -> None:
    lines.insert(300, lines[299])


def changed(lines: Lines) -> None:
    lines[300] = lines[300].replace(b'"attempt":1', b'"attempt":2')


def cut_off(lines: Lines) -> None:
    del lines[300:]


@pytest.mark.parametrize("tamper", [dropped, swapped, doubled, changed, cut_off])
def test_the_first_bad_line_is_named(tamper: Callable[[Lines], None], exported: Exported, tmp_path: Path) -> None:
    lines = list(exported.lines)
    tamper(lines)
    assert verified(lines, *exported.notes).first_bad == (300, 300)


def test_an_event_with_a_leaf_made_anew_is_found_by_a_checkpoint(exported: Exported) -> None:
    lines = list(exported.lines)
    row, source = row_of(lines[300])
    row = msgspec.structs.replace(row, version=row.version + 1)
    lines[300] = event_line(msgspec.structs.replace(row, leaf=leaf_hash(row)), source)
    report = verified(lines[:-1], *exported.notes)
    assert report.first_bad == (300, 300)  # its stream tells

    row = msgspec.structs.replace(row, version=row.version - 1, public=b'{"attempt":2}')
    lines[300] = event_line(msgspec.structs.replace(row, leaf=leaf_hash(row)), source)
    report = verified(lines, *exported.notes)
    assert report.first_bad == (151, 307)  # between two checkpoints
