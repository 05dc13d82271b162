"""A host erases people, and holds what is theirs."""

from uuid import UUID

import pytest

from chatledger import (
    AppConfiguration,
    Chatledger,
    HeldError,
    InvalidParameterError,
    KeyDestroyedError,
    NotFoundError,
    Settings,
)
from chatledger.application.audit.receipt import read_receipt

SCRIPTED = AppConfiguration(generator="scripted", settings={"tokens": 1})


@pytest.fixture
async def ledger(tmp_path):
    async with Chatledger.open(Settings(data_dir=tmp_path / "data")) as opened:
        yield opened


async def test_a_person_is_held_then_erased_and_others_are_not(ledger):
    app = (await ledger.apps.create("chat", "An app", SCRIPTED)).app_id
    told = await ledger.messages.ask(app, "Keep this from others.", user="ada")
    kept = await ledger.messages.ask(app, "And this for me.", user="bob")
    hold = await ledger.people.hold(app, "ada", "a case")
    assert (await ledger.people.holds(app=app)).items == (hold,)
    with pytest.raises(HeldError):
        await ledger.people.erase(app, "ada")
    await ledger.people.release(hold.hold_id)

    erasure = await ledger.people.erase(app, "ada")
    assert erasure.erased_position
    assert await ledger.people.erasure(erasure.end_user_id) == erasure
    assert (await ledger.people.erasures()).items == (erasure,)
    with pytest.raises(KeyDestroyedError):
        await ledger.messages.get(told.message_id)
    with pytest.raises(NotFoundError):
        await ledger.messages.get(told.message_id, app=app, user="ada")
    facts = await ledger.messages.events(told.message_id)
    assert {fact.envelope.is_erased for fact in facts.items} == {True, False}
    assert (await ledger.messages.get(kept.message_id)).message.query == "And this for me."
    receipt = read_receipt(await ledger.people.receipt(erasure.end_user_id))
    assert (receipt.subject.kind, receipt.subject.id) == ("end_user", erasure.end_user_id)
    assert [each.is_erased for each in receipt.events] == [True, True, False, False, False]
    with pytest.raises(NotFoundError):
        await ledger.people.erase(app, "ada")


async def test_whom_nobody_knows_nobody_erases(ledger):
    app = (await ledger.apps.create("chat", "An app", SCRIPTED)).app_id
    for call in (ledger.people.erase(app, "eve"), ledger.people.erase(UUID(int=1), "eve")):
        with pytest.raises(NotFoundError):
            await call
    with pytest.raises(InvalidParameterError):
        await ledger.people.erase(app, "")
    with pytest.raises(NotFoundError):
        await ledger.people.receipt(app)


async def test_what_is_kept_for_how_long_and_whose_tokens_open_something(ledger):
    app = (await ledger.apps.create("chat", "An app", SCRIPTED)).app_id
    await ledger.apps.set_retention(app, 30)
    assert (await ledger.apps.get(app)).retention_days == 30
    with pytest.raises(InvalidParameterError):
        await ledger.apps.set_retention(app, 0)
    issued = await ledger.operators.issue("Eve", ["erase"])
    assert [each.name for each in await ledger.operators.list()] == ["Eve"]
    await ledger.operators.revoke(issued.operator_id)
    assert await ledger.operators.list() == []
