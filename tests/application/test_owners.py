"""Whose a message is: its conversation's owner's, whoever sends it, and nobody's who is to be erased."""

from uuid import UUID

import msgspec
import pytest

from chatledger.application.commands.new_message import NewMessage
from chatledger.application.erasure.destroying import Destroying
from chatledger.application.errors import HeldError, InvalidParameterError
from chatledger.application.files.attaching import FileReference
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.domain.configuration import FileUpload
from chatledger.domain.conversation import Conversation
from chatledger.domain.events import MessageCreated
from tests.application.chat import DEADLINE, Chat
from tests.support.databases import ON_SQLITE
from tests.support.server import a_context


async def in_pieces(content: bytes):
    yield content


async def person(chat: Chat, user: str) -> UUID:
    return await chat.application.end_users.named(chat.app.app_id, "service-api", user)


async def upload(chat: Chat, user: str | None) -> FileReference:
    file = await chat.application.uploading.upload(chat.caller(user), "a.txt", in_pieces(b"bytes"))
    return FileReference(type=file.kind, transfer_method="local_file", upload_file_id=file.file_id)


async def send(chat: Chat, new: NewMessage, user: str | None = None) -> UUID:
    sent = await chat.application.sending.send(chat.caller(user), new)
    await chat.to_the_end(sent)
    return sent.message_id


async def send_as(chat: Chat, script: str, user: str) -> UUID:
    return await send(chat, NewMessage(query=f"/script {script}", inputs={}), user)


async def require_owners(chat: Chat) -> list[UUID]:
    """Each message on the ledger is its conversation's owner's; whose they are, in order."""
    owners = []
    for envelope in await chat.running.store.log(chat.running.ledger._codec.decode_all_or_erased, after=0, limit=1_000):
        if isinstance(created := envelope.body, MessageCreated):
            staged = await chat.running.ledger.load(Conversation, created.conversation_id, even_erased=True)
            assert created.end_user_id == staged.aggregate.started.end_user_id
            owners.append(created.end_user_id)
    return owners


async def test_a_message_is_its_conversations_owners_whoever_sends_it(chat):
    upload_any = FileUpload(enabled=True, kinds=())
    configuration = msgspec.structs.replace(chat.app.configuration, file_upload=upload_any)
    chat.app = msgspec.structs.replace(chat.app, configuration=configuration)
    hers = await send_as(chat, "fail_as=quota", "ann")
    conversation = (await chat.application.views.message(hers)).conversation_id
    shared = await send(chat, NewMessage(query="/script text=shared", inputs={}))
    ann = await person(chat, "ann")

    # Sent, sent again under its key, asked again, and replayed by an operator: by callers that name nobody.
    new = NewMessage(
        query="/script text=more",
        inputs={},
        conversation_id=conversation,
        files=[await upload(chat, "ann")],
        idempotency_key="k",
    )
    more = await send(chat, new)
    assert await send(chat, new) == more
    again = await send(chat, await chat.application.repeating.again(chat.caller(None), more))
    replayed = await chat.application.replaying.replay(hers, a_context())
    assert await require_owners(chat) == [ann, await person(chat, "DEFAULT-USER"), ann, ann, ann]
    (created, *_), _ = await chat.application.facts.stream(more, 0, 1)
    assert created.context.actor.kind == "api_key"
    with pytest.raises(InvalidParameterError):
        await send(chat, msgspec.structs.replace(new, files=[await upload(chat, None)], idempotency_key=None))

    # So a hold on her keeps it all, and erasing the one whom such callers share leaves it alone.
    await chat.application.holds.place(ann, "a case", a_context())
    with pytest.raises(HeldError):
        await chat.application.erasing.request(ann, a_context())
    erasure = await chat.application.erasing.request(await person(chat, "DEFAULT-USER"), a_context())
    done = await chat.application.erasing.until_done(erasure.end_user_id, DEADLINE)
    assert done.erased_position is not None
    with pytest.raises(KeyDestroyedError):
        await chat.application.history.message(chat.caller(None), shared)
    for message_id in (more, again, replayed.message_id):
        assert (await chat.application.history.message(chat.caller("ann"), message_id)).end_user_id == ann


@pytest.fixture
def nothing_is_destroyed(monkeypatch):
    async def fail(*_: object) -> None:
        raise StorageUnavailableError("not yet")

    monkeypatch.setattr(Destroying, "destroy", fail)


@pytest.mark.usefixtures("nothing_is_destroyed")
async def test_who_is_to_be_erased_gets_no_more_messages(chat):
    hers = await send_as(chat, "fail_as=quota", "ann")
    conversation, ann = (await chat.application.views.message(hers)).conversation_id, await person(chat, "ann")
    into_it = NewMessage(query="/script text=more", inputs={}, conversation_id=conversation)
    again = await chat.application.repeating.again(chat.caller(None), hers)
    await chat.application.erasing.request(ann, a_context())

    for refused in (into_it, again):
        with pytest.raises(KeyDestroyedError):
            await send(chat, refused)
    with pytest.raises(KeyDestroyedError):
        await chat.application.replaying.replay(hers, a_context())
    await send_as(chat, "text=new", "ann")
    assert await require_owners(chat) == [ann, await person(chat, "ann")]


@pytest.mark.usefixtures("nothing_is_destroyed")
@pytest.mark.parametrize("user", [None, "ann"])
async def test_a_message_that_is_about_to_be_committed_is_refused_too(chat, monkeypatch, user):
    hers = await send_as(chat, "text=hers", "ann")
    conversation, ann = (await chat.application.views.message(hers)).conversation_id, await person(chat, "ann")
    ledger = chat.running.ledger
    hand_in = ledger.hand_in

    async def hand_in_late(*staged, **more):
        monkeypatch.setattr(ledger, "hand_in", hand_in)
        await chat.application.erasing.request(ann, a_context())
        return await hand_in(*staged, **more)

    monkeypatch.setattr(ledger, "hand_in", hand_in_late)
    if user is None:
        with pytest.raises(KeyDestroyedError):
            await send(chat, NewMessage(query="/script text=more", inputs={}, conversation_id=conversation))
        assert await require_owners(chat) == [ann]
    else:
        await send_as(chat, "text=new", "ann")
        assert await require_owners(chat) == [ann, await person(chat, "ann")]
        assert await person(chat, "ann") != ann


@ON_SQLITE
async def test_a_hold_in_between_is_no_reason_to_refuse(chat):
    first = await send_as(chat, "text=one", "ann")
    hold = await chat.application.holds.place(await person(chat, "ann"), "a case", a_context())
    await send_as(chat, "text=two", "ann")
    await chat.application.holds.release(hold.hold_id, a_context())
    conversation = (await chat.application.views.message(first)).conversation_id
    await send(chat, NewMessage(query="/script text=three", inputs={}, conversation_id=conversation))
    assert await require_owners(chat) == [await person(chat, "ann")] * 3
