"""Loading a message of 4,000 events, beside a bare SELECT of its rows that opens and decodes them."""

import statistics
import time
from pathlib import Path
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.harness import Figure, Options, data_folder, median_ratio, spread
from benchmarks.ledgers import begin, opened, raw, run
from chatledger.domain.message import Message

NAME = "load a message"

_SELECT = """
SELECT e.version, e.type, e.event_id, e.public, e.sealed FROM events e
WHERE e.stream = (SELECT number FROM streams WHERE stream_id = ?) ORDER BY e.version
"""


class Piece(msgspec.Struct):
    """What the floor decodes of each event: the fields that most of them have."""

    attempt: int = 0
    text: str = ""


def measure(options: Options) -> list[Figure]:
    """``Ledger.load``, which hops to a reader's thread and folds, against both floors in turn."""
    events = options.choose(full=4_000, quick=4_000, tiny=50)
    with data_folder(options) as folder:
        return [run(lambda: _measure(folder, events, options.choose(full=31, quick=11, tiny=2)))]


async def _measure(folder: Path, events: int, repeats: int) -> Figure:
    ours: list[float] = []
    opening: list[float] = []
    plain: list[float] = []
    async with opened(folder) as running:
        answering = await begin(running)
        for number in range(events - 2):
            answering.message.append_chunk(1, f"some ten words of an answer, number {number}, and more of it ")
            if number % 50 == 0:
                await running.ledger.hand_in(answering.staged, context=answering.context_position)
        await running.ledger.hand_in(answering.staged, context=answering.context_position)
        message_id, key_id = answering.message.id, answering.staged.key_id
        if key_id is None:
            raise ValueError("a message without a key")
        secret, _ = running.ledger.keyring._secrets[key_id]  # noqa: SLF001 - the floor opens with the bare cipher
        floor = _Floor(folder / "data" / "ledger.db", message_id, secret)
        for _ in range(repeats + 2):
            opening.append(floor.load(opens=True))
            began = time.perf_counter()
            staged = await running.ledger.load(Message, message_id)
            ours.append(time.perf_counter() - began)
            plain.append(floor.load(opens=False))
            if staged is None or staged.aggregate.answer != answering.message.answer:
                raise ValueError("the message that was loaded is not the one that was written")
        floor.connection.close()
    ours, opening, plain = ([1000 * took for took in times[2:]] for times in (ours, opening, plain))
    ratio = median_ratio(ours, opening)
    return Figure(
        name=f"{NAME} of {events:,} events",
        measured=f"{spread(ours, '.1f')} ms",
        floor=f"{spread(opening, '.1f')} ms; without opening {statistics.median(plain):.1f}",
        ratio=ratio,
        goal="<= 2 x the floor",
        met=ratio <= 2,
        detail={
            "milliseconds": ours,
            "floor": opening,
            "floor_without_opening": plain,
            "ratio_without_opening": median_ratio(ours, plain),
        },
    )


class _Floor:
    def __init__(self, path: Path, message_id: UUID, secret: bytes) -> None:
        self.connection = raw(path)
        self._stream_id = message_id.bytes
        self._open = AESGCM(secret).decrypt
        self._names = {
            number: schema.to_bytes(4, "big") + name.encode()
            for number, name, schema in self.connection.execute("SELECT number, name, schema FROM event_types")
        }
        self._decode = msgspec.json.Decoder(Piece).decode

    def load(self, *, opens: bool) -> float:
        """How long it takes."""
        decode, unseal, names, stream_id = self._decode, self._open, self._names, self._stream_id
        pieces = []
        began = time.perf_counter()
        for _, kind, event_id, public, sealed in self.connection.execute(_SELECT, (self._stream_id,)):
            if opens and sealed is not None:
                plaintext = unseal(sealed[:12], sealed[12:], stream_id + event_id + names[kind])
                pieces.append(decode(public[:-1] + b"," + plaintext[1:]))
            else:
                pieces.append(decode(public))
        text = "".join([piece.text for piece in pieces])
        took = time.perf_counter() - began
        if opens and not text:
            raise ValueError("nothing was read")
        return took
