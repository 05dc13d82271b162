"""The store of files is away while the ledger is not: that is a message's trouble, which passes or ends it."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from chatledger.application.ports.generator import FileMade, GeneratorError, StepBegan
from chatledger.domain.values import AttachedFile
from tests.application.chat import Chat
from tests.application.test_agents import Acting, ended


def folder_of(chat: Chat) -> Path:
    return chat.settings.data_dir / "files"


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_a_file_that_cannot_be_stored_is_tried_again_with_the_answer_and_ends_it(open_chat):
    generator = Acting(StepBegan(), FileMade("made.txt", b"made"))
    async with open_chat(generators=[generator], attempts=2, first_retry_delay=0.01) as chat:
        incoming = folder_of(chat) / "incoming"
        incoming.rmdir()
        incoming.write_bytes(b"no folder")
        view = await ended(chat, generator)
    assert (view.state, view.attempt, view.error_code) == ("errored", 2, "completion_request_error")
    assert view.error == "A file that a tool made cannot be stored right now."


async def test_a_file_that_cannot_be_read_now_is_worth_another_attempt(open_chat):
    async with open_chat(with_worker=False) as chat:
        uploaded = await chat.application.uploading.upload(chat.caller(), "a.txt", in_pieces(b"sent"))
        (stored,) = (path for path in folder_of(chat).rglob("*") if path.name == str(uploaded.file_id))
        stored.unlink()
        stored.mkdir()
        sent = await chat.send()
        sent.follower.close()
        attached = AttachedFile(
            file_id=chat.application.new_id(),
            kind="document",
            transfer_method="local_file",
            belongs_to="user",
            upload_file_id=uploaded.file_id,
        )
        (file,) = chat.application.files.sent(msgspec.structs.replace(sent.created.body, files=(attached,)))
        with pytest.raises(GeneratorError, match=r"^A file of the message cannot be read right now\.$") as failed:
            _ = [piece async for piece in file.open()]
    assert failed.value.kind == "transient"
