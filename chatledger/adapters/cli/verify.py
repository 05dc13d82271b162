"""``chatledger verify``: whether a ledger, an export of one or a receipt is what was signed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from chatledger.adapters.cli.console import (
    REFUSED,
    SUCCESS,
    WRONG_USAGE,
    CommandFailedError,
    ProgressLine,
    Result,
    complain,
    escaped,
)

if TYPE_CHECKING:
    from uuid import UUID

    from chatledger.adapters.persistence.database import Database
    from chatledger.application.audit.findings import Finding
    from chatledger.application.audit.trust import Trust
    from chatledger.application.audit.verification import Report
    from chatledger.application.ports.audit import ClaimedCheckpoint

_SQLITE_MAGIC = b"SQLite format 3\x00"
_RECEIPT_BEGINNING = b'{"receipt":'


def verify(public_keys: Sequence[str], since: Sequence[Path], file: Path | None) -> Result:
    """Verify the ledger of the settings, or what is in a file."""
    trust = _trust(public_keys)
    outside = [checkpoint for path in since for checkpoint in _outside(path)]
    if file is None:
        from chatledger.application.ports.audit import ClaimedCheckpoint  # noqa: PLC0415
        from chatledger.bootstrap.auditing import remembered  # noqa: PLC0415
        from chatledger.bootstrap.stores import database_of  # noqa: PLC0415
        from chatledger.server_settings import load_settings  # noqa: PLC0415

        settings = load_settings()
        known = remembered(settings)
        for number, note in enumerate(known.checkpoints, 1):
            outside.append(ClaimedCheckpoint(number, None, None, note, keeper="notary"))
        return _verify_database(database_of(settings), trust, outside, known.incarnation)
    with _opening(file), file.open("rb") as opened:
        beginning = opened.read(len(_SQLITE_MAGIC))
    if beginning == _SQLITE_MAGIC:
        from chatledger.adapters.persistence.database import SQLITE, database_at  # noqa: PLC0415

        return _verify_database(database_at(f"{SQLITE}{file}"), trust, outside)
    is_receipt = beginning.startswith(_RECEIPT_BEGINNING)
    return (_verify_receipt if is_receipt else _verify_export)(file, trust, outside)


@contextmanager
def _opening(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandFailedError(f"{file}: {error.strerror}", WRONG_USAGE) from error


def _trust(public_keys: Sequence[str]) -> "Trust":
    from chatledger.adapters.keys.ed25519 import is_signed_by  # noqa: PLC0415
    from chatledger.application.audit.notes import NoteError, VerifierKey  # noqa: PLC0415
    from chatledger.application.audit.trust import Trust  # noqa: PLC0415

    try:
        return Trust([VerifierKey.parse(key.strip()) for key in public_keys], is_signed_by)
    except NoteError as error:
        raise CommandFailedError(f"--public-key: {error}", WRONG_USAGE) from error


def _outside(file: Path) -> "Iterator[ClaimedCheckpoint]":
    """The checkpoints of a file, which have to be some."""
    from chatledger.application.audit.note_file import split_notes  # noqa: PLC0415
    from chatledger.application.audit.notes import Checkpoint, Note, NoteError  # noqa: PLC0415
    from chatledger.application.ports.audit import ClaimedCheckpoint  # noqa: PLC0415

    with _opening(file):
        raw = file.read_bytes()
    found = 0
    for number, note in enumerate(split_notes(raw), 1):
        try:
            Checkpoint.parse(Note.parse(note).text)
        except NoteError as error:
            complain(f"{file}: piece {number} is passed over, it is no checkpoint: {error}")
            continue
        found += 1
        yield ClaimedCheckpoint(number, None, None, note, keeper="outside")
    if not found:
        raise CommandFailedError(f"{file}: there is no checkpoint in it", WRONG_USAGE)


def _verify_database(
    database: "Database", trust: "Trust", outside: "Sequence[ClaimedCheckpoint]", incarnation: "UUID | None" = None
) -> Result:
    from chatledger.application.audit.verification import verify as verify_ledger  # noqa: PLC0415
    from chatledger.bootstrap.auditing import open_for_audit  # noqa: PLC0415

    with open_for_audit(database) as ledger:
        return _told(verify_ledger(ledger, trust, outside, ProgressLine("verify"), incarnation=incarnation))


def _verify_export(file: Path, trust: "Trust", outside: "Sequence[ClaimedCheckpoint]") -> Result:
    from chatledger.application.audit.audited_export import verify_export  # noqa: PLC0415
    from chatledger.application.audit.export_reader import BadExportError  # noqa: PLC0415

    with file.open("rb") as opened:
        try:
            return _told(verify_export(opened, str(file), trust, outside, ProgressLine("verify")))
        except BadExportError as error:
            raise CommandFailedError(
                f"{file} is neither a ledger, nor an export, nor a receipt: {error}", WRONG_USAGE
            ) from error


def _verify_receipt(file: Path, trust: "Trust", outside: "Sequence[ClaimedCheckpoint]") -> Result:
    from chatledger.adapters.keys.cipher import AesDataKey  # noqa: PLC0415
    from chatledger.application.audit.receipt_check import BadReceiptError, verify_receipt  # noqa: PLC0415

    try:
        return _told(verify_receipt(file.read_bytes(), str(file), trust, outside, AesDataKey))
    except BadReceiptError as error:
        raise CommandFailedError(f"{file} is no receipt: {error}", WRONG_USAGE) from error


def _told(report: "Report") -> Result:
    root = f", root {report.root}" if report.root else ""
    lines = [f"{report.place}: {report.events:,} events{root}"]
    if report.checkpoints:
        lines.append(
            f"{report.checkpoints:,} checkpoints fit; the last one covers {report.signed:,} events. Signed by:"
        )
        lines += [f"  {key}" for key in report.keys]
    lines += ["", _verdict(report), *(f"  {_line(finding)}" for finding in report.findings)]
    if len(report.findings) < report.problems:
        lines.append(f"  and {report.problems - len(report.findings):,} more")
    lines += ["", "Not checked:", *(f"- {said}" for said in report.unchecked)]
    return Result(report, "\n".join(map(escaped, lines)), SUCCESS if report.is_intact else REFUSED)


def _verdict(report: "Report") -> str:
    if report.is_intact:
        return "Nothing is wrong."
    problems = "One thing is" if report.problems == 1 else f"{report.problems:,} things are"
    if report.first_bad is None:
        return f"{problems} wrong, but with no event:"
    return f"{problems} wrong. The first bad position is {_span(*report.first_bad)}:"


def _span(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"one from {first:,} to {last:,}"


def _line(finding: "Finding") -> str:
    if finding.first is None or finding.last is None:
        return finding.text
    return f"{_span(finding.first, finding.last)}: {finding.text}"
