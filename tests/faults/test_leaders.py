"""The node that does what is done once in a cluster is killed, or stands still: another one does it."""

import signal

import pytest

from tests.support.databases import connection_to
from tests.support.nodes import BY_POSTGRES, Nodes
from tests.support.process import until

pytestmark = [pytest.mark.faults, pytest.mark.postgres]

LEASE = 2


def leaders(url: str) -> dict[str, tuple[str, int]]:
    """Which node has which lease that has not ended, and its token."""
    query = (
        "SELECT name, split_part(holder, ':', 1), token FROM process_leases "
        "WHERE expires_at > extract(epoch FROM clock_timestamp()) * 1000000"
    )
    with connection_to(url) as connection:
        return {name: (holder, token) for name, holder, token in connection.exec_driver_sql(query)}


def test_whoever_is_killed_or_stands_still_is_followed_by_another(tmp_path, postgres_url) -> None:
    env = {"CHATLEDGER_LEASE": str(LEASE), "CHATLEDGER_HEARTBEAT": "0.2"}
    with Nodes(tmp_path, postgres_url, BY_POSTGRES, apis=3, workers=0, apis_work=True, env=env) as nodes:
        names = {f"api-{number}": node for number, node in enumerate(nodes.apis, 1)}

        def all_led() -> dict[str, tuple[str, int]] | None:
            found = leaders(postgres_url)
            return found if found.keys() >= {"sweeper", "notary", "webhooks", "erasure"} else None

        first = until(all_led)
        still, token = first["notary"]
        names[still].signal(signal.SIGSTOP)

        def taken_over() -> tuple[str, int] | None:
            found = leaders(postgres_url).get("notary")
            return found if found is not None and found[0] != still else None

        second, later = until(taken_over, what="a take-over")
        assert later > token
        names[still].signal(signal.SIGCONT)
        names[second].kill()

        def taken_again() -> bool:
            found = leaders(postgres_url).get("notary")
            return found is not None and found[0] != second and found[1] > later

        until(taken_again, what="a second take-over")
        assert names[still].is_running
