"""An access request meets an erasure by age while it is made."""

import json
from contextlib import aclosing

from chatledger.application.caller import Auditor
from tests.application.test_erasing import in_pieces, person, said


async def test_what_is_erased_while_it_is_read_ends_there_and_the_document_goes_on(chat):
    first = await said(chat, "one")
    await chat.answered("text=two", conversation=first.conversation_id)
    await said(chat, "other")
    large = await chat.application.uploading.upload(chat.caller(), "a.txt", in_pieces(bytes(200_000)))
    await chat.application.uploading.upload(chat.caller(), "b.txt", in_pieces(b"small"))

    async def destroy(stream_id):
        head = await chat.running.ledger.stream_head(stream_id)
        await chat.running.writer.run_alone(lambda: chat.running.ledger.keyring.destroy([head.key_id]))

    reader = Auditor(operator_id=None, correlation_id=chat.application.new_id())
    document = b""
    async with aclosing(chat.application.access_requests.document(reader, await person(chat))) as pieces:
        async for piece in pieces:
            document += piece
            if str(first.message_id).encode() in piece:
                await destroy(first.conversation_id)
            if len(piece) > 50_000:
                await destroy(large.file_id)

    read = json.loads(document)
    begun, other = read["conversations"]
    assert (begun["is_whole"], [message["answer"] for message in begun["messages"]]) == (False, ["one"])
    assert [message["answer"] for message in other["messages"]] == ["other"]
    cut_off, small = read["files"]
    assert (cut_off["is_whole"], 0 < len(cut_off["content"]) < 200_000) == (False, True)
    assert (small["name"], "is_whole" in small) == ("b.txt", False)
