"""Exports of a host: the ledger as a file, and all of one person."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatledger import Chatledger, ExportFileError, InvalidParameterError, NotFoundError
from tests.audit.exports import read_export
from tests.embedding.hosting import hosted, new_app


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Chatledger]:
    async with hosted(tmp_path) as opened:
        yield opened


async def test_a_host_writes_the_ledger_to_files(ledger: Chatledger, tmp_path: Path) -> None:
    app, other = await new_app(ledger, text="an answer"), await new_app(ledger, text="an answer")
    await ledger.messages.ask(app, user="ada", query="a question")
    await ledger.messages.ask(other, user="bob", query="a question")
    whole, of_app, of_ada = (tmp_path / name for name in ("whole", "of_app", "of_ada"))
    assert (await ledger.exports.write(whole)).events == len(read_export(whole))
    await ledger.exports.write(of_app, app=app)
    await ledger.exports.write(of_ada, app=app, user="ada")
    positions = [{row.position for row in read_export(path)} for path in (whole, of_app, of_ada)]
    assert positions[0] > positions[1] > positions[2] != set()

    with pytest.raises(ExportFileError):
        await ledger.exports.write(whole)
    with pytest.raises(NotFoundError):
        await ledger.exports.write(tmp_path / "none", app=app, user="bob")
    with pytest.raises(InvalidParameterError):
        await ledger.exports.write(tmp_path / "none", user="ada")
    assert not await asyncio.to_thread(lambda: list(tmp_path.glob("none*")))


async def test_a_host_answers_an_access_request(ledger: Chatledger) -> None:
    app = await new_app(ledger, text="an answer")
    await ledger.messages.ask(app, user="ada", query="a question")
    document = json.loads(b"".join([piece async for piece in ledger.exports.person(app, "ada")]))
    ((message,),) = (conversation["messages"] for conversation in document["conversations"])
    assert (message["query"], message["answer"]) == ("a question", "an answer")
    reads = (await ledger.events.page(types=["ContentRead"])).events
    assert [str(read.fact.envelope.body.subject_id) for read in reads] == [document["person"]["id"]]
    with pytest.raises(NotFoundError):
        await anext(ledger.exports.person(app, "bob"))
