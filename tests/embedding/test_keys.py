"""Keys, rotated by a host."""

from pathlib import Path

import pytest

from chatledger import NotFoundError
from tests.embedding.hosting import hosted, new_app


async def test_a_host_rotates_keys(tmp_path: Path) -> None:
    async with hosted(tmp_path) as ledger:
        app = await new_app(ledger, text="yes")
        said = await ledger.messages.ask(app, "hello", user="ada")
        assert await ledger.keys.rotate_user(app, "ada") == 1
        assert await ledger.keys.rotate_master() > 1
        with pytest.raises(NotFoundError):
            await ledger.keys.rotate_user(app, "nobody")
        assert (await ledger.messages.get(said.message_id)).message.answer == "yes"
