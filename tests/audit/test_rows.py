"""The quick check of rows and the definition of a leaf are one."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatledger.application.audit.findings import Findings
from chatledger.application.audit.rows import RowCheck
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.audit import RawStream
from chatledger.application.ports.storage import ALGORITHMS, EventRow, RawRow
from tests.audit.test_export_lines import ROWS


class Listed:
    """A ledger in which each event has a stream and a type of its own."""

    def __init__(self, rows: Sequence[EventRow]) -> None:
        self.rows = rows

    def event_types(self) -> Mapping[int, tuple[str, int]]:
        return {number: (row.name, row.schema) for number, row in enumerate(self.rows, 1)}

    def count_streams(self) -> int:
        return len(self.rows)

    def streams(self, numbers: Collection[int]) -> Mapping[int, RawStream]:
        return {number: self._stream(self.rows[number - 1]) for number in numbers}

    def _stream(self, row: EventRow) -> RawStream:
        return RawStream(row.stream_id.bytes, row.category, row.key_id.bytes if row.key_id else None)

    def raw(self) -> Iterator[RawRow]:
        for number, row in enumerate(self.rows, 1):
            yield (
                row.position,
                number,
                row.version,
                row.event_id.bytes,
                number,
                row.recorded_at,
                row.public,
                row.sealed,
                ALGORITHMS.index(row.algorithm),
                row.context_position,
                row.context,
                row.leaf,
            )


class Quick(RowCheck):
    def _examine(self, row: RawRow) -> None:
        pytest.fail(f"the quick check does not know this row for a sound one: {row}")


@given(st.lists(ROWS, max_size=5), st.integers(4_090, 4_100))
def test_the_quick_check_knows_every_sound_row(rows: list[EventRow], length: int) -> None:
    times = sorted(row.recorded_at for row in rows)
    placed = [
        msgspec.structs.replace(
            row,
            position=position,
            version=1,
            recorded_at=times[position - 1],
            context_position=position if row.context is not None or position == 1 else 1,
            context=b"{}" if position == 1 else row.context,
            sealed=row.sealed and row.sealed * (length // len(row.sealed)),
        )
        for position, row in enumerate(rows, 1)
    ]
    ledger = Listed([msgspec.structs.replace(row, leaf=leaf_hash(row)) for row in placed])
    findings = Findings()
    check = Quick(ledger, findings, lambda _position, _key: None)
    assert check.page(list(ledger.raw())) == [row.leaf for row in ledger.rows]
    check.finish()
    assert findings.count == 0
    assert check.seen.position == len(rows)
