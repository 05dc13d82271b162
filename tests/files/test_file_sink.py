"""What is peculiar to a file that checkpoints are appended to."""

import asyncio
import errno
import os
import resource
import threading
from pathlib import Path

import pytest

from chatledger.adapters.checkpoint_sink.file import FileSink
from chatledger.application.audit.note_file import split_notes
from chatledger.application.ports.notary import SinkUnavailableError
from tests.contracts.test_checkpoint_sink import checkpoint


@pytest.mark.parametrize("cut", [1, 5, 20, 40])
async def test_a_note_that_was_cut_short_stays_and_hides_no_other(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "checkpoints"
    sink = FileSink(file)
    await sink.put(checkpoint(1))
    file.write_bytes(file.read_bytes() + checkpoint(2).note[:cut])
    before = file.read_bytes()
    await sink.put(checkpoint(2))
    await sink.put(checkpoint(3))
    assert file.read_bytes().startswith(before), "nothing is taken back"
    found = list(split_notes(file.read_bytes()))
    assert found[0] == checkpoint(1).note
    assert found[-2:] == [checkpoint(2).note, checkpoint(3).note]


async def test_a_checkpoint_that_is_the_last_one_already_is_not_appended_again(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "checkpoints")
    for number in (1, 2, 2):
        await sink.put(checkpoint(number))
    assert list(split_notes((tmp_path / "checkpoints").read_bytes())) == [checkpoint(1).note, checkpoint(2).note]


async def test_of_what_has_no_room_nothing_is_left(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints"
    sink = FileSink(file)
    await sink.put(checkpoint(1))
    before = file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(SinkUnavailableError, match="File too large"):
            await sink.put(checkpoint(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before


async def test_what_was_given_up_is_not_overtaken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that does not answer for long: its thread is still at work when the note comes again."""
    sink, go_on, begun = FileSink(tmp_path / "checkpoints"), threading.Event(), threading.Event()
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        if not begun.is_set():
            begun.set()
            go_on.wait(20)
            raise OSError(errno.EIO, "it did not come to the disk")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    first = asyncio.create_task(sink.put(checkpoint(1)))
    await asyncio.to_thread(begun.wait, 20)
    first.cancel()
    await asyncio.wait([first])
    again = asyncio.create_task(sink.put(checkpoint(1)))
    await asyncio.wait([again], timeout=0.05)
    assert not again.done()
    go_on.set()
    await again
    assert list(split_notes((tmp_path / "checkpoints").read_bytes())) == [checkpoint(1).note]
