"""Checkpoints and proofs over HTTP, read with nothing but their bytes and the notary's key."""

from base64 import b64decode

import httpx
import pytest

from chatledger.adapters.keys.ed25519 import is_signed_by
from chatledger.application.audit.merkle import verify_consistency, verify_inclusion
from chatledger.application.audit.notes import Checkpoint, Note, VerifierKey
from chatledger.application.audit.tlog_proof import TlogProof
from tests.support.chatting import ask
from tests.support.server import LiveServer

NOTARY = "/v1/admin/notary"


@pytest.fixture
async def operator(server: LiveServer) -> httpx.AsyncClient:
    return server.client(await server.new_token("operate", "audit"))


def opened(note: bytes, keys: list[str]) -> Checkpoint:
    signed = Note.parse(note)
    assert signed.verified([VerifierKey.parse(key) for key in keys], is_signed_by)
    return Checkpoint.parse(signed.text)


async def test_an_apps_key_gets_an_answer_proved(server: LiveServer, operator: httpx.AsyncClient) -> None:
    chat = await server.new_client(tokens=2)
    message = await ask(chat)
    signed = (await operator.post(f"{NOTARY}/checkpoint")).json()
    assert (await operator.post(f"{NOTARY}/checkpoint")).json() == signed
    keys = (await operator.get(NOTARY)).json()["verifier_keys"]

    checkpoint = await chat.get("/v1/checkpoint")
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"
    assert checkpoint.content == signed["note"].encode()
    head = opened(checkpoint.content, keys)
    assert (head.size, head.origin) == (signed["size"], signed["origin"])

    events = (await chat.get(f"/v1/messages/{message['id']}/events")).json()["data"]
    for event in events:
        answer = await chat.get("/v1/proof", params={"position": event["position"]})
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        proof = TlogProof.parse(answer.content)
        assert proof.checkpoint == checkpoint.content
        leaf = await server.running.reader.run(lambda tx, at=event["position"]: tx.read_log(at - 1, 1)[0].leaf)
        verify_inclusion(event["position"] - 1, head.size, leaf, proof.hashes, head.root)


async def test_a_later_checkpoint_is_proved_to_extend_an_earlier_one(
    server: LiveServer, operator: httpx.AsyncClient
) -> None:
    before = (await operator.post(f"{NOTARY}/checkpoint")).json()
    await server.new_app()
    rotated = (await operator.post(f"{NOTARY}/rotate-key")).json()
    after = rotated["checkpoint"]
    assert after["size"] > before["size"] + 1
    old, new = (opened(each["note"].encode(), rotated["verifier_keys"]) for each in (before, after))
    assert opened(after["note"].encode(), rotated["verifier_keys"][-2:-1]) == new, "the old key has signed it too"

    proof = (await operator.get("/v1/proof", params={"from": old.size})).json()
    assert (proof["from"], proof["to"]) == (old.size, new.size)
    verify_consistency(old.size, new.size, old.root, new.root, [b64decode(each) for each in proof["hashes"]])
    assert (await operator.get("/v1/checkpoint", params={"size": old.size})).content == before["note"].encode()
    inclusion = await operator.get("/v1/proof", params={"position": 1, "size": old.size})
    assert TlogProof.parse(inclusion.content).checkpoint == before["note"].encode()
    shown = (await operator.get(NOTARY)).json()
    assert (shown["checkpoint"], shown["unsigned"], shown["refusal"], shown["sink"]) == (after, 0, None, None)


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ({}, "position"),
        ({"position": 1, "from": 1}, "position"),
        ({"position": 1, "to": 1}, "position"),
        ({"from": 1, "size": 1}, "position"),
        ({"size": 1}, "position"),
        ({"position": 0}, "position"),
        ({"position": "one"}, "position"),
        ({"position": 10**17}, "position"),
        ({"from": -1}, "from"),
        ({"from": 2, "to": 1}, "from"),
        ({"from": 1, "to": 10**17}, "to"),
        ({"position": 1, "size": "all"}, "size"),
    ],
)
async def test_what_cannot_be_proved_is_named(
    server: LiveServer, operator: httpx.AsyncClient, query: dict[str, object], params: str
) -> None:
    await operator.post(f"{NOTARY}/checkpoint")
    refused = await operator.get("/v1/proof", params=query)
    assert (refused.status_code, refused.json()["code"], refused.json()["params"]) == (400, "invalid_param", params)


async def test_what_was_not_signed_is_not_there(operator: httpx.AsyncClient) -> None:
    await operator.post(f"{NOTARY}/checkpoint")
    for path, query in (("/v1/checkpoint", {"size": 10**17}), ("/v1/proof", {"position": 1, "size": 10**17})):
        missing = await operator.get(path, params=query)
        assert (missing.status_code, missing.json()["message"]) == (404, "Checkpoint Not Exists.")


async def test_who_may_have_the_ledger_signed(server: LiveServer) -> None:
    chat, auditor = await server.new_client(), server.client(await server.new_token("audit"))
    eraser = server.client(await server.new_token("erase"))
    for client, method, path, status in (
        (chat, "POST", f"{NOTARY}/checkpoint", 403),
        (chat, "POST", f"{NOTARY}/rotate-key", 403),
        (chat, "GET", NOTARY, 403),
        (auditor, "POST", f"{NOTARY}/checkpoint", 403),
        (auditor, "GET", NOTARY, 200),
        (eraser, "GET", "/v1/checkpoint", 403),
        (eraser, "GET", "/v1/proof?position=1", 403),
        (server.client(), "GET", "/v1/checkpoint", 401),
    ):
        assert (await client.request(method, path)).status_code == status, (method, path)


async def test_a_ledger_that_was_tampered_with_is_told_as_such(serve) -> None:
    async with serve() as server:
        operator = server.client(await server.new_token("operate", "audit"))
        signed = (await operator.post(f"{NOTARY}/checkpoint")).json()

        def tamper() -> None:
            with server.running.store.write() as transaction:
                transaction.connection.exec_driver_sql("UPDATE events SET leaf = public WHERE position = 1")

        await server.running.writer.run_alone(tamper)
        for refused in (
            await operator.post(f"{NOTARY}/checkpoint"),
            await operator.post(f"{NOTARY}/rotate-key"),
            await operator.get("/v1/proof", params={"position": 1}),
        ):
            assert (refused.status_code, refused.json()["code"]) == (409, "ledger_inconsistent")
        shown = (await operator.get(NOTARY)).json()
        assert shown["refusal"]
        assert shown["checkpoint"] == signed
        assert len(shown["verifier_keys"]) == 1, "no key was changed"
