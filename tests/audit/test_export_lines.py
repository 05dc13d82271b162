"""Lines of an export: the same row comes back, and no other line is taken for it."""

import io
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatledger.application.audit.export_lines import EndedLine, ExportScope, event_line, line_of, row_of
from chatledger.application.audit.export_reader import BadExportError, ExportReader
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.storage import EventRow
from chatledger.application.system_clock import new_id
from tests.audit.exports import SOURCE, an_export, some_rows
from tests.persistence.stores import a_row

NUMBERS = st.integers(0, 2**63 - 1)
PARTS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b'{"a":1}', b'{ "a" : 1.0 }', b'{"a":"\\u00e9"}', '{"a":"é\u2028"}'.encode(), b"{}\n", b"[" * 5_000]
    ),
)
ROWS = st.builds(
    EventRow,
    position=NUMBERS,
    stream_id=st.uuids(),
    category=st.sampled_from(["message", "app", "library:Shop"]),
    version=NUMBERS,
    event_id=st.uuids(),
    name=st.text(max_size=20),
    schema=st.integers(0, 2**32 - 1),
    recorded_at=st.integers(0, 10**17),
    public=PARTS,
    sealed=st.none() | st.binary(max_size=40),
    key_id=st.none() | st.uuids(),
    algorithm=st.sampled_from(["none", "aes-256-gcm"]),
    context_position=NUMBERS,
    context=st.none() | PARTS,
    leaf=st.binary(min_size=32, max_size=32),
)


def read(lines: list[bytes], *, may_be_cut: bool = False) -> list[EventRow]:
    reader = ExportReader(io.BytesIO(b"".join(lines)), may_be_cut=may_be_cut)
    rows = list(reader.rows())
    assert may_be_cut or reader.ended is not None
    return rows


@given(ROWS)
def test_a_row_comes_back_byte_for_byte(row: EventRow) -> None:
    line = event_line(row, SOURCE)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert row_of(line) == (row, SOURCE)


def test_what_an_event_says_in_public_stands_there_as_json() -> None:
    row = a_row(1, new_id(), 1, public=b'{"by":"user"}')
    data = msgspec.json.decode(event_line(row, SOURCE))["data"]
    assert data["public"] == {"by": "user"}
    assert data["context"] == {}


def test_an_export_is_read_back() -> None:
    rows = some_rows()
    assert read(an_export(rows)) == rows
    assert read(an_export([])) == []


def test_a_part_of_a_ledger_has_gaps() -> None:
    rows = some_rows()[::2]
    assert read(an_export(rows, ExportScope(app_id=new_id()))) == rows
    with pytest.raises(BadExportError, match=r"line 1: 3 events do not end at position 5"):
        read(an_export(rows))


def test_one_that_is_still_being_written_is_read_as_far_as_it_is_whole() -> None:
    rows = some_rows()
    lines = an_export(rows)
    assert read(lines[:4], may_be_cut=True) == rows[:3]
    assert read([*lines[:4], lines[4][:-7]], may_be_cut=True) == rows[:3]
    with pytest.raises(BadExportError, match=r"line 5 \(position 4\): the file ends"):
        read(lines[:4])


@pytest.mark.parametrize("number", range(1, 6))
def test_no_byte_of_an_event_can_be_changed(number: int) -> None:
    lines = an_export(some_rows())
    line = lines[number]
    for place in range(len(line)):
        changed = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        with pytest.raises(BadExportError) as caught:
            read([*lines[:number], changed, *lines[number + 1 :]])
        assert (caught.value.line, caught.value.position) == (number + 1, number)


def _with_root(line: bytes) -> bytes:
    ended = msgspec.json.decode(line, type=EndedLine)
    data = msgspec.structs.replace(ended.data, root=bytes(32))
    return line_of(msgspec.structs.replace(ended, data=data))


BAD = {
    "missing": (lambda lines: [*lines[:2], *lines[3:]], 3, 2),
    "swapped": (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], 3, 2),
    "twice": (lambda lines: [*lines[:3], *lines[2:]], 4, 3),
    "the last event missing": (lambda lines: [*lines[:-2], lines[-1]], 6, 5),
    "cut after a line": (lambda lines: lines[:3], 4, 3),
    "cut within a line": (lambda lines: [*lines[:3], lines[3][:-9]], 4, 3),
    "cut within the last line": (lambda lines: [*lines[:-1], lines[-1][:-1]], 7, 6),
    "more after the end": (lambda lines: [*lines, b"\n"], 8, None),
    "another line between": (lambda lines: [*lines[:3], b"{}\n", *lines[3:]], 4, 3),
    "of another ledger": (
        lambda lines: [*lines[:3], lines[3].replace(SOURCE.encode(), UUID(int=8).urn.encode()), *lines[4:]],
        4,
        3,
    ),
    "written otherwise": (lambda lines: [*lines[:3], lines[3].replace(b'"data":', b'"data": '), *lines[4:]], 4, 3),
    "another root": (lambda lines: [*lines[:-1], _with_root(lines[-1])], 7, 6),
    "no export": (lambda _: [b"{}\n"], 1, None),
    "nothing": (lambda _: [], 1, None),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_not_what_was_written_is_refused_by_line_and_position(case: str) -> None:
    spoil, line, position = BAD[case]
    with pytest.raises(BadExportError) as caught:
        read(spoil(an_export(some_rows())))
    assert (caught.value.line, caught.value.position) == (line, position)


def test_a_row_that_does_not_fit_its_leaf_is_refused() -> None:
    rows = some_rows()
    rows[2] = msgspec.structs.replace(rows[2], sealed=b"another")
    with pytest.raises(BadExportError, match=r"line 4 \(position 3\): the event does not fit its leaf"):
        read(an_export(rows))
    rows[2] = msgspec.structs.replace(rows[2], leaf=leaf_hash(rows[2]))
    assert read(an_export(rows)) == rows
