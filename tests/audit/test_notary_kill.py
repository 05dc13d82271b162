"""The notary's server is killed at any moment: what was signed stays signed, and is extended.

More kills: ``./test tests/audit/test_notary_kill.py --kills 200``.
"""

import random
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from chatledger.adapters.keys.ed25519 import is_signed_by
from chatledger.application.audit.merkle import CompactRange
from chatledger.application.audit.notes import Checkpoint, Note, VerifierKey
from tests.support.databases import ON_SQLITE, configure, connection_to, ledger_of
from tests.support.process import ServerProcess, run_json
from tests.support.tls import NO_TLS

SEED = 20261126
OFTEN = {"CHATLEDGER_CHECKPOINT_INTERVAL": "0.01"}


@ON_SQLITE
@pytest.mark.timeout(900)
def test_no_kill_makes_the_notary_contradict_itself(
    tmp_path: Path, database_url: str | None, request: pytest.FixtureRequest
) -> None:
    data_folder, chance = tmp_path / "data", random.Random(SEED)
    configure(data_folder, database_url)
    app = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    for _ in range(max(2, request.config.getoption("--kills") // 10)):
        server = ServerProcess(data_folder, env=OFTEN).start()
        has_answered = threading.Event()
        talking = threading.Thread(target=_talk, args=(server.url, app["api_key"], has_answered))
        talking.start()
        assert has_answered.wait(30)
        time.sleep(chance.uniform(0.05, 0.4))
        server.kill()
        talking.join()

    last = run_json(data_folder, "checkpoint")
    shown = run_json(data_folder, "notary", "show")
    keys = [VerifierKey.parse(key) for key in shown["verifier_keys"]]
    with connection_to(ledger_of(data_folder)) as connection:
        leaves = connection.exec_driver_sql("SELECT leaf FROM events ORDER BY position").scalars().all()
        notes = connection.exec_driver_sql("SELECT note FROM checkpoints ORDER BY number").scalars().all()
    heads = [_opened(note.encode(), keys) for note in notes]

    assert len(heads) > 2, "it signs while the server runs"
    assert len(keys) == 1
    assert (last["size"], last["note"]) == (len(leaves), notes[-1])
    assert [head.size for head in heads] == sorted({head.size for head in heads})
    tree, roots = CompactRange(), {}
    for leaf in leaves:
        tree.push(bytes(leaf))
        roots[tree.size] = tree.root()
    for head in heads:
        assert head.root == roots[head.size]


def _talk(url: str, key: str, has_answered: threading.Event) -> None:
    """Ask until nobody answers any more."""
    body = {"inputs": {}, "query": "hello", "user": "ann", "response_mode": "blocking"}
    headers = {"Authorization": f"Bearer {key}"}
    with suppress(httpx.HTTPError), httpx.Client(headers=headers, verify=NO_TLS, timeout=10) as client:
        while client.post(f"{url}/v1/chat-messages", json=body).is_success:
            has_answered.set()


def _opened(raw: bytes, keys: list[VerifierKey]) -> Checkpoint:
    note = Note.parse(raw)
    assert note.verified(keys, is_signed_by)
    return Checkpoint.parse(note.text)
