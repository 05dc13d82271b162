"""``chatledger receipt``: a file that proves a message or a conversation to anybody."""

import os
from pathlib import Path
from uuid import UUID

from chatledger.adapters.cli.console import CommandFailedError, Result
from chatledger.adapters.cli.delivery import deliver
from chatledger.adapters.cli.orders import MakeReceipt, ReceiptMade
from chatledger.settings import Settings


def make(settings: Settings, subject_id: UUID, output: Path | None, *, with_key: bool) -> Result:
    """A receipt, in a new file or on stdout."""
    if output is not None and output.exists():
        raise CommandFailedError(f"{output} is there already")
    made = deliver(settings, MakeReceipt(subject_id=subject_id, with_key=with_key), ReceiptMade)
    if output is None:
        return Result(made, made.receipt.rstrip("\n"))
    write(output, made.receipt)
    told = {"file": str(output), "kind": made.kind, "events": made.events}
    return Result(told, f"{output}: a receipt of the {made.kind} {subject_id}, {made.events:,} events")


def write(output: Path, receipt: str) -> None:
    """Write a receipt to a new file. Whoever may read it may read what was said."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(receipt)
