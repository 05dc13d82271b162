"""Receipts as a host makes them."""

from pathlib import Path

import pytest

from chatledger import AppConfiguration, InvalidParameterError, NotFoundError
from chatledger.adapters.cli.main import main
from tests.embedding.hosting import hosted


async def test_a_host_makes_receipts_for_itself_and_for_its_apps(tmp_path: Path) -> None:
    async with hosted(tmp_path) as ledger:
        app = (await ledger.apps.create("chat", "An app", AppConfiguration(generator="scripted"))).app_id
        answer = await ledger.messages.ask(app, "hello", user="ada")
        made = [
            await ledger.messages.receipt(answer.message_id),
            await ledger.messages.receipt(answer.message_id, app=app, user="ada"),
            await ledger.conversations.receipt(answer.conversation_id, with_key=True),
        ]
        keys = (await ledger.notary.standing()).verifier_keys
        with pytest.raises(NotFoundError):
            await ledger.messages.receipt(answer.message_id, app=app, user="bob")
        with pytest.raises(InvalidParameterError) as refusal:
            await ledger.conversations.receipt(answer.conversation_id, with_key=True, app=app)
        assert refusal.value.field == "with_key"
    for receipt in made:
        file = tmp_path / "receipt.json"
        file.write_bytes(bytes(receipt))
        assert main(["verify", "--json", "--public-key", keys[-1], str(file)]) == 0
