"""Receipts over HTTP: the file that `chatledger verify` checks."""

from pathlib import Path

import pytest

from chatledger.adapters.cli.main import main
from tests.support.chatting import ask
from tests.support.server import LiveServer


@pytest.mark.parametrize("subject", ["messages", "conversations"])
async def test_a_receipt_is_a_file_that_verifies(server: LiveServer, subject: str, tmp_path: Path) -> None:
    app = await server.new_app(tokens=3)
    client = server.client(app.api_key)
    answer = await ask(client)
    path = f"/v1/{subject}/{answer['id' if subject == 'messages' else 'conversation_id']}/receipt"

    response = await client.get(path, params={"user": "ada"})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-disposition"].endswith('.receipt.json"')
    file = tmp_path / "receipt.json"
    file.write_bytes(response.content)
    assert main(["verify", "--json", "--public-key", response.json()["verifier_keys"][-1], str(file)]) == 0

    file.write_bytes(response.content.replace(b"GenerationStarted", b"GenerationStopped"))
    assert main(["verify", "--json", str(file)]) == 1

    assert (await (await server.new_client()).get(path)).status_code == 404
    assert (await client.get(path, params={"user": "bob"})).status_code == 404
    assert (await server.client().get(path)).status_code == 401
    assert (await server.client(await server.new_token("audit")).get(path)).status_code == 200
