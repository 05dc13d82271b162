"""Whether a ledger is what its notary has signed: every row, the tree above them, and the checkpoints of it."""

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import msgspec

from chatledger.application.audit.findings import Finding, Findings
from chatledger.application.audit.rows import RowCheck, Seen
from chatledger.application.audit.tree_check import TreeCheck, Trust
from chatledger.application.ports.audit import AuditedLedger, ClaimedCheckpoint, RawHead

Progress = Callable[[int, int], None]
"""Told of the events done and of the events in all."""

SEALED_CONTENT = "what sealed content says: no key opens it here, its sealed bytes are what was checked"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        place: what was looked at.
        signed: how many events, from the first on, a signature that counts covers.
        checkpoints: how many fit the events and have such a signature.
        root: of the tree of all events, in hex; None where it cannot be told.
        keys: whose signatures counted, as verifier keys.
        findings: what is wrong, the first positions first; of very many only some.
        problems: how many there are.
        first_bad: from where to where the first wrong event can be; None where none is wrong.
        unchecked: what was not looked at, or what a result does not prove.
    """

    place: str
    events: int
    signed: int
    checkpoints: int
    root: str | None
    keys: list[str]
    findings: list[Finding]
    problems: int
    first_bad: tuple[int, int] | None
    unchecked: list[str]

    @property
    def is_intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    ledger: AuditedLedger,
    trust: Trust,
    outside: Iterable[ClaimedCheckpoint],
    progress: Progress,
    findings: Findings | None = None,
    *,
    incarnation: UUID | None = None,
) -> Report:
    """Go through all of a ledger once. Blocks as long as it takes.

    Args:
        ledger: what to look at.
        trust: whose signatures count.
        outside: checkpoints that were kept apart from it.
        progress: told how far it has come.
        findings: where what is wrong is gathered, with what others find on the way.
        incarnation: which ledger it is to be, from somewhere else; None where nobody knows.
    """
    findings = findings or Findings()
    rows = RowCheck(ledger, findings, trust.introduce)
    tree = TreeCheck(ledger, list(outside), trust, findings, incarnation)
    heads = ledger.heads()
    total = ledger.expected()
    for page in ledger.pages():
        leaves = rows.page(page)
        if rows.is_whole:
            tree.extend(leaves)
        progress(rows.seen.position, max(total, rows.seen.position))
    rows.finish()
    tree.finish(rows.seen.position, is_whole=rows.is_whole)
    _check_head(ledger, heads, rows.seen, findings, incarnation)
    return Report(
        place=ledger.place,
        events=rows.seen.position,
        signed=tree.signed,
        checkpoints=tree.good,
        root=tree.root.hex() if rows.is_whole else None,
        keys=[str(key) for key in trust.keys],
        findings=list(findings.kept),
        problems=findings.count,
        first_bad=findings.first_bad,
        unchecked=_unchecked(rows.seen, tree, trust, has_read_models=heads is not None),
    )


def _check_head(
    ledger: AuditedLedger,
    heads: Sequence[RawHead] | None,
    seen: Seen,
    findings: Findings,
    incarnation: UUID | None,
) -> None:
    """The row that says where the ledger ends, beside where it does end."""
    if heads is None:
        return
    if len(heads) != 1:
        findings.add("head", f"there are {len(heads)} heads, and one was to be there")
    for head in heads:
        if head.position != seen.position:
            text = f"the head says that the ledger ends at {head.position!r}, and it ends at {seen.position}"
            is_cut = isinstance(head.position, int) and head.position > seen.position
            findings.add("missing" if is_cut else "head", text, seen.position + 1 if is_cut else None)
        elif head.recorded_at != seen.recorded_at:
            text = f"the head says that the last event was recorded at {head.recorded_at!r}, not at {seen.recorded_at}"
            findings.add("head", text)
        if incarnation is not None and head.incarnation != incarnation.bytes:
            text = f"the head says that this is another incarnation than {incarnation}, of which the key store is"
            findings.add("head", text)
        streams = ledger.count_streams()
        if not head.last_stream == ledger.last_stream() == streams:
            findings.add("head", f"the head says that there are {head.last_stream!r} streams, and there are {streams}")


def _unchecked(seen: Seen, tree: TreeCheck, trust: Trust, *, has_read_models: bool) -> list[str]:
    said = []
    if tree.signed < seen.position:
        said.append(f"events {tree.signed + 1:,} to {seen.position:,}: no signed checkpoint covers them")
    if not trust.is_given:
        said.append(
            "whose keys these are: they were taken from the ledger itself, so whoever could write all of it could have "
            "signed it anew; --public-key, with a key from somewhere else, answers that"
        )
    if not tree.outside:
        said.append(
            "whether events were cut off at the end together with their checkpoints: only a checkpoint that was kept "
            "somewhere else shows that; --since takes it"
        )
    if tree.passed_over:
        said.append(
            f"{tree.passed_over.total():,} checkpoints that were kept apart and are of other logs, "
            f"{', '.join(sorted(tree.passed_over))}: they were passed over. With a key of such a log they are compared"
        )
    if tree.unknown:
        said.append(f"the signatures of {tree.unknown:,} checkpoints, which are by keys that do not count")
    if tree.uncompared:
        said.append(f"{tree.uncompared:,} checkpoints of events that come after the first that is wrong")
    said.append(SEALED_CONTENT)
    if has_read_models:
        said.append("the read models: `chatledger rebuild --check` compares them with the events")
    return said
