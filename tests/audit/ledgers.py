"""Ledgers to be tampered with: events as a server writes them, a tree in tiles, and signed checkpoints."""

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chatledger.adapters.keys.ed25519 import is_signed_by
from chatledger.adapters.persistence.database import database_at
from chatledger.adapters.persistence.migrate import upgrade
from chatledger.adapters.persistence.store import Reader, SqlLedgerStore
from chatledger.application.audit.merkle import CompactRange
from chatledger.application.audit.note_file import split_notes
from chatledger.application.audit.notes import Checkpoint, VerifierKey, sign_note
from chatledger.application.audit.trust import Trust
from chatledger.application.audit.verification import Report, verify
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.audit import ClaimedCheckpoint
from chatledger.application.ports.storage import EventRow
from chatledger.bootstrap.auditing import open_for_audit
from chatledger.domain.notary import NOTARY_ID

ORIGIN = "example.com/chat"
EVENTS_OF_A_MESSAGE = 19


class Signer:
    """Signs notes as a notary does."""

    def __init__(self, seed: int = 1, name: str = ORIGIN) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.key = VerifierKey(name, self._private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    def checkpoint(self, size: int, root: bytes, origin: str = ORIGIN) -> bytes:
        return bytes(sign_note(str(Checkpoint(origin, size, root)), [self]))


@dataclass
class Trail:
    """What a notary leaves of a ledger: its checkpoints, by size, and the tiles of the tree."""

    notes: dict[int, bytes] = field(default_factory=dict)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)


def trail_of(leaves: Sequence[bytes], sizes: Iterable[int], signer: Signer) -> Trail:
    """What a notary makes of these leaves."""
    trail, tree, done = Trail(), CompactRange(), 0

    def keep(level: int, first: int, nodes: Sequence[bytes]) -> None:
        trail.tiles.update({(level // 8, number): node for number, node in enumerate(nodes, first)})

    for size in sizes:
        tree.extend(leaves[done:size], keep)
        done = size
        trail.notes[size] = signer.checkpoint(size, tree.root())
    return trail


def sizes_of(count: int) -> tuple[int, int, int]:
    """Of how many events the checkpoints are."""
    return count // 4, count // 2 + 7, count


def made_rows(count: int, signer: Signer, seed: int = 1) -> Iterator[EventRow]:
    """Events of messages, many of them at a time, after the one that introduces the notary's key."""
    choose = random.Random(seed)
    now = 1_700_000_000_000_000
    key = msgspec.json.encode({"verifier_key": str(signer.key)})
    yield _row(1, NOTARY_ID, "notary", 1, "NotaryKeyIntroduced", now, 1, choose, public=key)
    running: list[list[int | UUID]] = []
    for position in range(2, count + 1):
        now += choose.randrange(1_000)
        if len(running) < 8:
            running.append([_id(choose), _id(choose), 0, 0])
        message = choose.choice(running)
        stream_id, key_id, version, _ = message
        assert isinstance(stream_id, UUID)
        assert isinstance(key_id, UUID)
        assert isinstance(version, int)
        version += 1
        message[2] = version
        if version <= 2:
            message[3] = position
        if version == EVENTS_OF_A_MESSAGE:
            running.remove(message)
        name = {1: "MessageCreated", 2: "GenerationStarted", EVENTS_OF_A_MESSAGE: "MessageCompleted"}.get(
            version, "AnswerChunkAppended"
        )
        sealed = None if version == 2 else choose.randbytes(choose.choice((28, 60, 60, 60, 5_000)))
        yield _row(position, stream_id, "message", version, name, now, message[3], choose, sealed=sealed, key_id=key_id)


def _row(position, stream_id, category, version, name, at, place, choose, *, public=b'{"attempt":1}', **more):
    row = EventRow(
        position=position,
        stream_id=stream_id,
        category=category,
        version=version,
        event_id=_id(choose),
        name=name,
        schema=1,
        recorded_at=at,
        public=public,
        sealed=more.get("sealed"),
        key_id=more.get("key_id"),
        algorithm="aes-256-gcm" if more.get("sealed") else "none",
        context_position=place,
        context=b'{"actor":{"kind":"system","id":""}}' if place == position else None,
    )
    return msgspec.structs.replace(row, leaf=leaf_hash(row))


def _id(choose: random.Random) -> UUID:
    return UUID(bytes=choose.randbytes(16))


def write_ledger(url: str, count: int, signer: Signer) -> Trail:
    """A ledger of so many events, all of them covered by the last of its checkpoints."""
    database = database_at(url, "relaxed")
    rows = list(made_rows(count, signer))
    with database.alone() as writing:
        upgrade(writing)
        store = SqlLedgerStore(writing, Reader(database.reading(1), threads=1), has_one_writer=True)
        for start in range(0, count, 2_000):
            with store.write() as transaction:
                transaction.append(rows[start : start + 2_000])
        trail = trail_of([row.leaf for row in rows], sizes_of(count), signer)
        with writing.begin() as connection:
            keep_trail(connection, trail)
        store._reader.close()
    return trail


def keep_trail(connection: sa.Connection, trail: Trail) -> None:
    """Put a notary's trail in the place of what is there."""
    connection.exec_driver_sql("DELETE FROM checkpoints")
    connection.exec_driver_sql("DELETE FROM tiles")
    checkpoint = (
        "INSERT INTO checkpoints (number, origin, size, note, signed_at) VALUES (:number, :origin, :size, :note, 1)"
    )
    for number, (size, note) in enumerate(trail.notes.items(), 1):
        values = {"number": number, "origin": ORIGIN, "size": size, "note": note.decode()}
        connection.execute(sa.text(checkpoint), values)
    for (level, number), root in trail.tiles.items():
        tile = {"level": level, "number": number, "root": root}
        connection.execute(sa.text("INSERT INTO tiles (level, number, root) VALUES (:level, :number, :root)"), tile)


def verified(url: str, *keys: VerifierKey, since: Sequence[bytes] = (), incarnation: UUID | None = None) -> Report:
    """What verifying a ledger tells."""
    outside = [
        ClaimedCheckpoint(number, None, None, note, keeper="outside")
        for number, note in enumerate((note for raw in since for note in split_notes(raw)), 1)
    ]
    with open_for_audit(database_at(url)) as ledger:
        return verify(ledger, Trust(keys, is_signed_by), outside, lambda _done, _total: None, incarnation=incarnation)


@contextmanager
def changed(url: str) -> Iterator[sa.Connection]:
    """A connection that changes a ledger behind everybody's back."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        yield connection


def url_of(file: Path) -> str:
    return f"sqlite:///{file}"
