"""The signed checkpoints of a ledger, each beside the tree of the leaves that are there."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from uuid import UUID

import msgspec

from chatledger.application.audit.findings import LEAF_MADE_ANEW, Finding, Findings
from chatledger.application.audit.kept_tree import KeptTree
from chatledger.application.audit.notes import Checkpoint, Note, NoteError, UnverifiedNoteError
from chatledger.application.audit.trust import Trust
from chatledger.application.ports.audit import AuditedLedger, ClaimedCheckpoint, Keeper

_NAMES: Mapping[Keeper, str] = {
    "ledger": "the checkpoint",
    "notary": "the checkpoint that the notary keeps beside its keys",
    "outside": "the outside checkpoint",
}


class _Claim(msgspec.Struct, frozen=True):
    """A checkpoint that could be read."""

    note: Note
    checkpoint: Checkpoint
    keeper: Keeper

    @property
    def size(self) -> int:
        return self.checkpoint.size

    @property
    def name(self) -> str:
        whose = _NAMES[self.keeper]
        return f"{whose} of {self.size:,} events ({self.checkpoint.origin})"


class _Line(msgspec.Struct):
    """The checkpoints of one keeper.

    Attributes:
        fitting: the size of the last one that fits.
        differing: what the first one shows that does not.
    """

    fitting: int = 0
    differing: Finding | None = None


class TreeCheck:
    """Grows the tree as leaves come in, and looks at each checkpoint when the tree has its size.

    Attributes:
        signed: how many events, from the first on, a signature that counts covers.
        good: how many checkpoints fit the tree and have a signature that counts.
        unknown: how many fit it, and are signed by nobody who counts.
        outside: how many somebody outside has kept.
        passed_over: how many that were kept apart are of another log, by its name.
        uncompared: how many could not be looked at, since the events before them are wrong.
    """

    def __init__(
        self,
        ledger: AuditedLedger,
        apart: Sequence[ClaimedCheckpoint],
        trust: Trust,
        findings: Findings,
        incarnation: UUID | None = None,
    ) -> None:
        self._trust = trust
        self._findings = findings
        self._incarnation = incarnation
        self._names_of_keys = {key.name for key in trust.keys}
        kept_apart = list(self._read(apart))
        compared = sorted((each for each in kept_apart if self._is_of_this_log(each)), key=lambda claim: claim.size)
        self._claims: Iterator[_Claim] = merge(self._read(ledger.checkpoints()), compared, key=lambda each: each.size)
        self._next = next(self._claims, None)
        self._tree = KeptTree(ledger, findings)
        self._lines = {keeper: _Line() for keeper in _NAMES}
        self._unknown_size = 0
        self.outside = sum(each.keeper == "outside" for each in compared)
        self.passed_over = Counter(each.checkpoint.origin for each in kept_apart if not self._is_of_this_log(each))
        self.signed = self.good = self.unknown = self.uncompared = 0

    def _read(self, claimed: Iterable[ClaimedCheckpoint]) -> Iterator[_Claim]:
        for number, each in enumerate(claimed, 1):
            name = f"{_NAMES[each.keeper]} with the number {each.number!r}"
            if each.keeper == "ledger" and each.number != number:
                self._findings.add("checkpoint", f"checkpoint {number} is missing: {name} stands in its place")
            try:
                note = Note.parse(each.note)
                checkpoint = Checkpoint.parse(note.text)
            except (NoteError, TypeError) as error:
                self._findings.add("checkpoint", f"{name} cannot be read: {error}")
                continue
            filed = each.origin, each.size
            if filed not in {(None, None), (checkpoint.origin, checkpoint.size)}:
                self._findings.add("checkpoint", f"{name} is filed under another size or origin than it has")
                continue
            yield _Claim(note, checkpoint, each.keeper)

    def _is_of_this_log(self, claim: _Claim) -> bool:
        """After a restore there are checkpoints of the log before, which may have had other events.

        What the ledger says of its own name tells nothing: only a key that was given does, or the key store.
        """
        if not self._names_of_keys and self._incarnation is None:
            return True
        origin = claim.checkpoint.origin
        return origin in self._names_of_keys or origin.endswith(f"/{self._incarnation}")

    @property
    def root(self) -> bytes:
        """Of the tree as it is now."""
        return self._tree.root

    def extend(self, leaves: Sequence[bytes]) -> None:
        """The next leaves."""
        done = 0
        while self._next is not None and self._next.size <= self._tree.size + len(leaves) - done:
            wanted = max(0, self._next.size - self._tree.size)
            self._tree.extend(leaves[done : done + wanted])
            done += wanted
            self._compare(self._next)
            self._next = next(self._claims, None)
        self._tree.extend(leaves[done:])

    def _compare(self, claim: _Claim) -> None:
        """A checkpoint beside the tree of its size."""
        try:
            self._trust.require_signer(claim.note)
        except UnverifiedNoteError as error:
            self._judge_unverified(claim, error)
            return
        if not self._fits(claim):
            self._tell_other_tree(claim)
            return
        self.good += 1
        self.signed = claim.size
        self._trust.vouch(claim.size)

    def _judge_unverified(self, claim: _Claim, error: UnverifiedNoteError) -> None:
        if self._trust.is_named_by(claim.note):
            self._findings.add("signature", f"{claim.name}: {error}")
            return
        if claim.keeper == "ledger" and not self._trust.is_own(claim.note):
            self._findings.add("signature", f"{claim.name}: no key that the ledger introduces has signed it")
        if self._fits(claim):
            self.unknown += 1
            self._unknown_size = claim.size
        else:
            self._tell_other_tree(claim, " No key that counts has signed this checkpoint.")

    def _fits(self, claim: _Claim) -> bool:
        if not self._tree.fits(claim.checkpoint.root):
            return False
        line = self._lines[claim.keeper]
        line.fitting = claim.size
        self._tell(line)
        return True

    def _tell_other_tree(self, claim: _Claim, more: str = "") -> None:
        """Told once: after the first tree that differs, all do. Tiles may still tell more exactly where."""
        line = self._lines[claim.keeper]
        if line.differing is not None:
            self.uncompared += 1
            return
        first, last = min(line.fitting + 1, claim.size), claim.size
        where = f"the event at {last:,}" if first == last else f"one of the events from {first:,} to {last:,}"
        text = f"{where} is not what was signed: {claim.name} is of another tree. {LEAF_MADE_ANEW}{more}"
        line.differing = Finding("tree", first, last, text)

    def _tell(self, line: _Line) -> None:
        """A tree that differed, unless it is known by now what of it does."""
        differing = line.differing
        if differing is None or differing.first is None or differing.last is None:
            return
        if self._findings.explains(differing.first, differing.last):
            self.uncompared += 1
        else:
            self._findings.add("tree", differing.text, differing.first, differing.last)
        line.differing = None

    def finish(self, position: int, *, is_whole: bool) -> None:
        """After the last leaf: checkpoints of events that are not there, and what nobody who counts has signed.

        Args:
            position: of the last event.
            is_whole: whether each leaf had its place in the tree; else the tree ends where that is no longer so.
        """
        self._tree.finish(is_whole=is_whole)
        for line in self._lines.values():
            self._tell(line)
        is_told = False
        while self._next is not None:
            if self._next.size <= position and not is_whole:
                self.uncompared += 1
            elif not is_told:
                text = f"{self._next.name} is of more events than the {position:,} that there are: the end is missing"
                self._findings.add("missing", text, position + 1)
                is_told = True
            self._next = next(self._claims, None)
        if not self._trust.is_given:
            return
        if position and not self.signed:
            self._findings.add("unsigned", "none of the given keys has signed any of these events", 1, position)
        elif self._unknown_size > self.signed:
            text = f"checkpoints after {self.signed:,} events are signed by keys that no given key vouches for"
            self._findings.add("unsigned", text, self.signed + 1, self._unknown_size)
