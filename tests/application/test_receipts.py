"""Receipts as the application makes them: for whom, with what, before and after an erasure."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest

from chatledger.adapters.keys.cipher import AesDataKey
from chatledger.adapters.keys.ed25519 import is_signed_by
from chatledger.application.audit.notes import VerifierKey
from chatledger.application.audit.receipt import Receipt
from chatledger.application.audit.receipt_check import verify_receipt
from chatledger.application.audit.trust import Trust
from chatledger.application.audit.verification import Report
from chatledger.application.caller import Auditor
from chatledger.application.errors import InvalidParameterError, NotFoundError
from chatledger.bootstrap import begin_incarnation
from tests.application.chat import DEADLINE, Chat
from tests.audit.ledgers import verified
from tests.support.server import a_context


def auditor(chat: Chat) -> Auditor:
    return Auditor(operator_id=None, correlation_id=chat.application.new_id())


async def key_of(chat: Chat) -> VerifierKey:
    return VerifierKey.parse((await chat.application.standing.look()).verifier_keys[-1])


async def checked(chat: Chat, receipt: Receipt) -> Report:
    """What somebody finds who has the file and the notary's key."""
    trust = Trust([await key_of(chat)], is_signed_by)
    return verify_receipt(bytes(receipt), "file", trust, [], AesDataKey)


async def require_sound_ledger(chat: Chat, *keys: VerifierKey) -> None:
    """The whole ledger verifies, and all that was signed by a key that one of these vouches for."""
    await chat.application.notarizing.checkpoint(a_context())
    report = await asyncio.to_thread(verified, chat.settings.ledger_url, *keys)
    assert report.is_intact, report.findings
    assert report.signed == report.events


def contents(receipt: Receipt) -> dict[str, Any]:
    """All sealed fields together; of the pieces of an answer their text."""
    said: dict[str, Any] = {}
    for each in receipt.events:
        for name, value in json.loads(bytes(each.content) or b"{}").items():
            said[name] = said[name] + value if name == "text" and name in said else value
    return said


async def test_a_receipt_proves_a_message_to_whoever_may_read_it(chat: Chat) -> None:
    message = await chat.answered("text='An append-only book.'")
    receipt = await chat.application.receipts.of_message(chat.caller(), message.message_id)
    report = await checked(chat, receipt)
    assert report.is_intact, report.findings
    assert [each.version for each in await chat.events(message.message_id)] == list(range(1, report.events + 1))
    said = contents(receipt)
    assert (said["query"], said["text"]) == (message.query, message.answer)
    assert "parameters" not in said  # those are the operator's
    assert "parameters" in contents(await chat.application.receipts.of_message(auditor(chat), message.message_id))


async def test_a_checkpoint_that_covers_it_is_not_signed_again(chat: Chat) -> None:
    message = await chat.answered()
    first = await chat.application.receipts.of_message(chat.caller(), message.message_id)
    await chat.answered()
    again = await chat.application.receipts.of_message(chat.caller(), message.message_id)
    assert [each.proof for each in again.events] == [each.proof for each in first.events]


async def test_a_receipt_of_a_conversation_has_all_its_messages(chat: Chat) -> None:
    first = await chat.answered("text=one")
    second = await chat.answered("text=two", conversation=first.conversation_id)
    await chat.answered("text=elsewhere")
    receipt = await chat.application.receipts.of_conversation(chat.caller(), first.conversation_id)
    report = await checked(chat, receipt)
    assert report.is_intact, report.findings
    subjects = {json.loads(bytes(each.event))["subject"] for each in receipt.events}
    assert subjects == {str(each) for each in (first.conversation_id, first.message_id, second.message_id)}
    either = await chat.application.receipts.of_either(auditor(chat), first.conversation_id)
    assert either.subject == receipt.subject


async def test_nobody_gets_a_receipt_of_what_is_anothers(chat: Chat) -> None:
    message = await chat.answered()
    receipts, other = chat.application.receipts, await chat.new_app()
    for caller in (chat.caller("bob"), chat.caller(None, other)):
        with pytest.raises(NotFoundError):
            await receipts.of_message(caller, message.message_id)
        with pytest.raises(NotFoundError):
            await receipts.of_conversation(caller, message.conversation_id)
    with pytest.raises(NotFoundError):
        await receipts.of_either(auditor(chat), UUID(int=5))


async def test_with_the_key_the_contents_are_proved(chat: Chat) -> None:
    message = await chat.answered("text='An append-only book.'")
    receipts = chat.application.receipts
    for receipt in (
        await receipts.of_message(auditor(chat), message.message_id, with_key=True),
        await receipts.of_conversation(auditor(chat), message.conversation_id, with_key=True),
    ):
        report = await checked(chat, receipt)
        assert report.is_intact, report.findings
        assert not any("contents" in said for said in report.unchecked)
    with pytest.raises(InvalidParameterError):
        await receipts.of_message(chat.caller(), message.message_id, with_key=True)
    with pytest.raises(InvalidParameterError, match="nothing of it is sealed"):
        receipts._secret(auditor(chat), [])


async def test_an_erased_message_is_proved_by_what_is_left_and_its_old_receipt_stays_good(chat: Chat) -> None:
    message = await chat.answered("text=secret")
    receipts, erasing = chat.application.receipts, chat.application.erasing
    before = await receipts.of_message(chat.caller(), message.message_id)
    person = await erasing.request(message.end_user_id, a_context())
    await erasing.until_done(person.end_user_id, DEADLINE)

    after = await receipts.of_message(auditor(chat), message.message_id)
    for receipt in (before, after):
        report = await checked(chat, receipt)
        assert report.is_intact, report.findings
    assert contents(after) == {}
    assert any(each.is_erased for each in after.events)
    assert [bytes(each.event) for each in after.events[: len(before.events)]] == [bytes(e.event) for e in before.events]
    with pytest.raises(InvalidParameterError):
        await receipts.of_message(auditor(chat), message.message_id, with_key=True)
    await require_sound_ledger(chat)


async def test_a_key_that_came_later_vouches_through_the_one_before(chat: Chat) -> None:
    message = await chat.answered()
    old = await chat.application.receipts.of_message(chat.caller(), message.message_id)
    first_key = await key_of(chat)
    await chat.application.notarizing.rotate_key(a_context())
    new = await chat.application.receipts.of_message(chat.caller(), (await chat.answered()).message_id)
    assert (await checked(chat, new)).is_intact
    assert not (await checked(chat, old)).is_intact  # by the new key alone
    assert verify_receipt(bytes(old), "file", Trust([first_key], is_signed_by), [], AesDataKey).is_intact
    await require_sound_ledger(chat, first_key)


async def test_a_restored_ledger_is_another_log_and_verifies_with_a_key_of_its_own(open_chat) -> None:
    async with open_chat() as chat:
        await chat.answered()
        await chat.application.notarizing.checkpoint(a_context())
        old_key, settings = await key_of(chat), chat.settings
    await asyncio.to_thread(begin_incarnation, settings)
    async with open_chat() as chat:
        await chat.answered()
        new_key = await key_of(chat)
        await require_sound_ledger(chat)
        await require_sound_ledger(chat, new_key)
        report = await asyncio.to_thread(verified, chat.settings.ledger_url, old_key)
        assert [finding.kind for finding in report.findings] == ["unsigned"]
        assert report.first_bad == (report.signed + 1, report.events)
