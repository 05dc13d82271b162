"""The node that does what is done once in a cluster is killed, or stands still: another one does it."""

import signal

import httpx
import pytest

from tests.support.databases import connection_to
from tests.support.nodes import BY_POSTGRES, Nodes
from tests.support.process import ServerProcess, until
from tests.support.server import chat_body
from tests.support.tls import NO_TLS

pytestmark = [pytest.mark.faults, pytest.mark.postgres]

ENV = {"CHATLEDGER_LEASE": "2", "CHATLEDGER_HEARTBEAT": "0.2", "CHATLEDGER_CHECKPOINT_INTERVAL": "0.3"}

# As a broker that loses whatever it is given: only what is swept is answered.
FORGETFUL_QUEUE = (
    "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    (
        "CREATE TRIGGER forgets BEFORE INSERT ON queued_tasks "
        "FOR EACH ROW WHEN (NEW.dispatch = 0) EXECUTE FUNCTION forget()"
    ),
)

NOTARY = """
SELECT split_part(holder, ':', 1), token FROM process_leases
WHERE name = 'notary' AND expires_at > extract(epoch FROM clock_timestamp()) * 1000000
"""


class Cluster:
    """Nodes with one app, whose ledger lies in a database that can be looked at."""

    def __init__(self, nodes: Nodes, url: str) -> None:
        self._url = url
        self._key = nodes.new_app(text="yes")["api_key"]

    def notary(self, other_than: str = "") -> tuple[str, int] | None:
        """Which node signs, and its token."""
        with connection_to(self._url) as connection:
            row = connection.exec_driver_sql(NOTARY).first()
        return None if row is None or row[0] == other_than else (row[0], row[1])

    def works(self, through: ServerProcess) -> None:
        """What nobody has claimed is swept, and answered; and what is answered is signed."""
        answer = httpx.post(
            f"{through.url}/v1/chat-messages",
            headers={"Authorization": f"Bearer {self._key}"},
            json=chat_body(response_mode="blocking"),
            verify=NO_TLS,
            timeout=20,
        )
        assert (answer.status_code, answer.json().get("answer")) == (200, "yes")
        until(self._is_signed, what="a checkpoint")

    def _is_signed(self) -> bool:
        with connection_to(self._url) as connection:
            ended = "SELECT max(size) >= (SELECT max(ended_position) FROM messages) FROM checkpoints"
            return bool(connection.exec_driver_sql(ended).scalar())


def test_whoever_is_killed_or_stands_still_is_followed_by_another(tmp_path, postgres_url) -> None:
    with Nodes(tmp_path, postgres_url, BY_POSTGRES, apis=3, workers=0, apis_work=True, env=ENV) as nodes:
        names = {f"api-{number}": node for number, node in enumerate(nodes.apis, 1)}
        with connection_to(postgres_url) as connection:
            for statement in FORGETFUL_QUEUE:
                connection.exec_driver_sql(statement)
        cluster = Cluster(nodes, postgres_url)
        first, token = until(cluster.notary)
        still = names[first]
        still.signal(signal.SIGSTOP)
        # It may stand still in the middle of a transaction, which the database ends.
        second, later = until(lambda: cluster.notary(other_than=first), 20, what="a take-over")
        assert later > token
        (last,) = names.keys() - {first, second}
        cluster.works(names[second])
        still.signal(signal.SIGCONT)
        names[second].kill()
        cluster.works(names[last])
        names[last].kill()
        cluster.works(still)
        assert (cluster.notary() or ("",))[0] == first
