"""Files of a host: uploaded, read back, and given to its own generator."""

import io
import random
import zipfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import UUID

import pytest

from chatledger import (
    AppConfiguration,
    Chatledger,
    FileReference,
    FileTooLargeError,
    FileUpload,
    InvalidParameterError,
    NotFoundError,
    Text,
)
from tests.embedding.generators import Counting
from tests.embedding.hosting import hosted

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + random.Random(1).randbytes(200_000)
WEB = FileReference(type="document", transfer_method="remote_url", url="https://example.org/a.txt")


class Looking(Counting):
    """Says what it was given."""

    name = "looking"

    async def generate(self, request):
        for file in request.files:
            content = b"" if file.open is None else await file.read(1_000_000)
            yield Text(f"{file.kind} {file.name} {file.mime_type} {file.url} {content == PNG}\n")


@pytest.fixture(scope="module")
async def ledger(tmp_path_factory) -> AsyncIterator[Chatledger]:
    async with hosted(tmp_path_factory.mktemp("host"), generators=[Looking()], image_file_size_limit=1) as opened:
        yield opened


@pytest.fixture
async def app(ledger) -> UUID:
    upload = FileUpload(enabled=True, kinds=())
    return (
        await ledger.apps.create("chat", "An app", AppConfiguration(generator="looking", file_upload=upload))
    ).app_id


async def in_pieces() -> AsyncIterator[bytes]:
    for at in range(0, len(PNG), 1_000):
        yield PNG[at : at + 1_000]


def stored(file_id: UUID) -> FileReference:
    return FileReference(type="image", transfer_method="local_file", upload_file_id=file_id)


async def read(ledger, file_id, **reader) -> bytes:
    async with aclosing(ledger.files.read(file_id, **reader)) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_a_file_is_read_back_by_whose_it_is_by_the_app_and_by_the_host(ledger, app):
    file = await ledger.files.upload(app, "cat.png", in_pieces(), user="ada")
    assert (file.kind, file.mime_type, file.size) == ("image", "image/png", len(PNG))
    for reader in ({"app": app, "user": "ada"}, {"app": app}, {}):
        assert await read(ledger, file.file_id, **reader) == PNG
        assert (await ledger.files.get(file.file_id, **reader)).name == "cat.png"
    other = (await ledger.apps.create("chat", "Another", AppConfiguration(generator="looking"))).app_id
    for reader in ({"app": app, "user": "bob"}, {"app": other}):
        with pytest.raises(NotFoundError):
            await read(ledger, file.file_id, **reader)
        with pytest.raises(NotFoundError):
            await ledger.files.get(file.file_id, **reader)


async def test_a_host_s_generator_gets_the_files_and_their_bytes(ledger, app):
    file = await ledger.files.upload(app, "cat.png", PNG, user="ada")
    answer = await ledger.messages.ask(app, "What is it?", user="ada", files=[stored(file.file_id), WEB])
    assert answer.text.splitlines() == [
        "image cat.png image/png None True",
        "document a.txt None https://example.org/a.txt False",
    ]


@pytest.mark.parametrize("piece", [1_000, 60_000, 1_000_000])
async def test_an_office_file_is_known_by_its_end_where_its_beginning_is_a_picture(ledger, app, piece):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("docProps/thumbnail.jpeg", bytes(100_000))
        archive.writestr("ppt/presentation.xml", bytes(100_000))
        archive.writestr("[Content_Types].xml", bytes(100))
    content = held.getvalue()

    async def in_pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(content), piece):
            yield content[at : at + piece]

    file = await ledger.files.upload(app, "a.pptx", in_pieces())
    presentation = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    assert (file.kind, file.mime_type) == ("document", presentation)


async def test_what_a_host_cannot_upload(ledger, app):
    with pytest.raises(FileTooLargeError):
        await ledger.files.upload(app, "cat.png", PNG * 6)
    for name, content in [("a/b.png", PNG), ("", PNG), (5, PNG), ("\ud83d.png", PNG), ("cat.exe", PNG), ("a", "text")]:
        with pytest.raises(InvalidParameterError):
            await ledger.files.upload(app, name, content)


async def test_what_is_no_list_of_references(ledger, app):
    for files in ("text", None, 5, [None], [{"type": "image"}]):
        with pytest.raises(InvalidParameterError) as refused:
            await ledger.messages.send(app, "What is it?", files=files)
        assert refused.value.field == "files"
