"""API and worker processes that share a ledger: whatever one of them does, the others show."""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.databases import connection_to
from tests.support.nats import NatsServer, NoNatsError
from tests.support.nodes import BY_POSTGRES, Nodes, by_nats, give_master_key
from tests.support.process import ServerProcess, run_command, run_json
from tests.support.server import answer_of, events_of, until

pytestmark = pytest.mark.postgres

SEND = "/v1/chat-messages"
SLOW = "/script tokens=400 interval_ms=20"
SWIFT = {"CHATLEDGER_LEASE": "1", "CHATLEDGER_HEARTBEAT": "0.25", "CHATLEDGER_CHECKPOINT_INTERVAL": "0"}


OVER_EACH_QUEUE = {
    "test_a_message_is_sent_here_answered_there_and_shown_by_all",
    "test_a_stop_reaches_whoever_answers",
    "test_a_worker_that_ends_hands_over_and_one_that_is_killed_is_followed",
}
"""The others run over NATS too where a run asks for a shape of many processes."""


def is_wide(config: pytest.Config) -> bool:
    return bool(config.getoption("--shape") != "in_process")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Over which queues each test runs."""
    if "nodes" in metafunc.fixturenames:
        is_over_each = is_wide(metafunc.config) or metafunc.function.__name__ in OVER_EACH_QUEUE
        queues = ["postgres", "nats"] if is_over_each else ["postgres"]
        metafunc.parametrize("nodes", queues, indirect=True, scope="module")


@pytest.fixture(scope="module")
def nodes(request, postgres_server, migrated_database, tmp_path_factory) -> Iterator[Nodes]:
    """Two that serve and do not answer, and two that answer. For a few tests over NATS one that serves is enough."""
    apis = 1 if request.param == "nats" and not is_wide(request.config) else 2
    if request.param == "nats":
        try:
            server = NatsServer()
        except NoNatsError as error:
            pytest.skip(str(error))
        with server:
            yield from _running(by_nats(server.url), apis, postgres_server, migrated_database, tmp_path_factory)
    else:
        yield from _running(BY_POSTGRES, apis, postgres_server, migrated_database, tmp_path_factory)


def _running(queue, apis, postgres_server, migrated_database, tmp_path_factory) -> Iterator[Nodes]:
    # Over PostgreSQL alone they make the ledger themselves, all at once.
    url = postgres_server.fresh_database(*(() if queue == BY_POSTGRES else (migrated_database,)))
    with Nodes(tmp_path_factory.mktemp("nodes"), url, queue, apis=apis, workers=2, env=SWIFT) as nodes:
        yield nodes
    postgres_server.drop_database(url)


@pytest.fixture(scope="module")
def app(nodes: Nodes) -> dict[str, str]:
    """For all tests that change nothing about it."""
    return nodes.new_app(tokens=5)


@pytest.fixture
def own_app(nodes: Nodes) -> dict[str, str]:
    return nodes.new_app(tokens=5)


def body(query: str, **more: Any) -> dict[str, Any]:
    return {"inputs": {}, "query": query, "user": "ada", "response_mode": "blocking"} | more


async def begin(client: httpx.AsyncClient, query: str, **more: Any) -> dict[str, Any]:
    """Send, and wait for nothing."""
    sent = await client.post(SEND, json=body(query, response_mode="async", **more))
    assert sent.status_code in {200, 202}, sent.text
    found: dict[str, Any] = sent.json()
    return found


async def state_of(client: httpx.AsyncClient, task_id: str) -> str:
    state: str = (await client.get(f"/v1/tasks/{task_id}")).json()["status"]
    return state


def test_nodes_that_start_together_make_what_comes_first_once(nodes):
    made = [node for node in nodes.apis if (node.data_folder / "first-credentials.toml").exists()]
    assert len(made) == 1
    assert sorted(app["name"] for app in nodes.run("apps", "list"))[:2] == ["Chat", "Completion"]


async def test_a_message_is_sent_here_answered_there_and_shown_by_all(nodes, app):
    first, second = (nodes.client(app["api_key"], of=node) for node in (nodes.apis[0], nodes.apis[-1]))
    async with first, second:
        answered = await first.post(SEND, json=body("hello"))
        assert answered.json()["answer"] == "t0 t1 t2 t3 t4 "
        conversation = answered.json()["conversation_id"]
        again = await second.post(SEND, json=body("again", conversation_id=conversation))
        assert again.json()["answer"] == "t0 t1 t2 t3 t4 "
        resumed = [
            (await client.get(f"/v1/messages/{again.json()['message_id']}/stream", params={"user": "ada"})).text
            for client in (first, second)
        ]
        assert answer_of(events_of(resumed[0])) == "t0 t1 t2 t3 t4 "
        assert events_of(resumed[0]) == events_of(resumed[1])


async def test_what_is_asked_next_is_answered_with_all_that_was_said_before(nodes, app):
    """Whichever node has the question knows of the answer that another has just given."""
    async with nodes.client(app["api_key"]) as client:
        conversation, ends = "", []
        for _ in range(4):
            answered = (await client.post(SEND, json=body("more", conversation_id=conversation))).json()
            conversation = answered["conversation_id"]
            facts = (await client.get(f"/v1/messages/{answered['message_id']}/events", params={"user": "ada"})).json()
            (created,) = [fact for fact in facts["data"] if fact["type"].endswith("MessageCreated")]
            assert not ends or created["data"]["context_cut"] >= ends[-1]
            ends.append(facts["data"][-1]["position"])


async def test_a_stop_reaches_whoever_answers(nodes, app):
    first, second = (nodes.client(app["api_key"], of=node) for node in (nodes.apis[0], nodes.apis[-1]))
    async with first, second:
        sent = await begin(first, SLOW)
        following = asyncio.create_task(
            first.get(f"/v1/messages/{sent['message_id']}/stream", params={"user": "ada"}, timeout=20)
        )
        await until(lambda: is_running(second, sent["task_id"]))
        stopped = await second.post(f"{SEND}/{sent['task_id']}/stop", json={"user": "ada"})
        assert stopped.json() == {"result": "success"}
        text = (await following).text
        assert await state_of(first, sent["task_id"]) == "stopped"
        assert len(answer_of(events_of(text)).split()) < 400


async def is_running(client: httpx.AsyncClient, task_id: str) -> bool:
    return await state_of(client, task_id) == "running"


async def test_a_stream_is_gone_on_with_at_another_node(nodes, app):
    first, second = (nodes.client(app["api_key"], of=node) for node in nodes.apis)
    async with first, second:
        sent = await begin(first, "/script tokens=60 interval_ms=20")
        begun: list[str] = []
        path = f"/v1/messages/{sent['message_id']}/stream"
        async with first.stream("GET", path, params={"user": "ada"}) as response:
            async for line in response.aiter_lines():
                begun.append(line)
                if line.startswith("id: ") and len([each for each in begun if each.startswith("data: ")]) > 3:
                    break
        last_id = begun[-1].removeprefix("id: ")
        rest = await second.get(path, params={"user": "ada"}, headers={"Last-Event-ID": last_id})
        answer = answer_of(events_of("\n".join(begun) + "\n\n" + rest.text))
        assert answer == "".join(f"t{number} " for number in range(60))


async def test_a_conversation_is_followed_at_a_node_that_has_no_part_in_it(nodes, app):
    first, second = (nodes.client(app["api_key"], of=node) for node in nodes.apis)
    async with first, second:
        conversation = (await first.post(SEND, json=body("hello"))).json()["conversation_id"]
        path, seen = f"/v1/conversations/{conversation}/stream", ""
        async with second.stream("GET", path, params={"user": "ada"}) as response:
            sent = asyncio.create_task(first.post(SEND, json=body("more", conversation_id=conversation)))
            async with asyncio.timeout(20):
                async for piece in response.aiter_text():
                    seen += piece
                    if sent.done() and sent.result().json()["message_id"] in seen and seen.count('"message_end"') == 2:
                        break


async def test_one_message_of_a_conversation_waits_for_another_wherever_they_came_in(nodes, app):
    first, second = (nodes.client(app["api_key"], of=node) for node in nodes.apis)
    async with first, second:
        began = await begin(first, "/script tokens=20 interval_ms=20")
        conversation = began["conversation_id"]
        waiting = await second.post(SEND, json=body("next", conversation_id=conversation, on_busy="queue"))
        assert waiting.json()["answer"] == "t0 t1 t2 t3 t4 "
        assert await state_of(second, began["task_id"]) == "completed"

        began = await begin(first, SLOW, conversation_id=conversation)
        interrupting = await second.post(SEND, json=body("now", conversation_id=conversation, on_busy="interrupt"))
        assert interrupting.json()["answer"] == "t0 t1 t2 t3 t4 "
        assert await state_of(first, began["task_id"]) == "stopped"


async def test_a_key_that_comes_to_two_nodes_at_once_makes_one_message(nodes, app):
    clients = [nodes.client(app["api_key"], of=node) for node in nodes.apis]
    async with clients[0], clients[1]:
        for number in range(5):
            key = {"Idempotency-Key": f"key-{number}"}
            sending = [
                client.post(SEND, json=body("hello", user=f"ann-{number}"), headers=key) for client in clients * 2
            ]
            answers = await asyncio.gather(*sending)
            assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
            assert len({answer.json()["message_id"] for answer in answers}) == 1


async def test_what_changes_about_an_app_is_known_to_all_in_a_moment(nodes, own_app):
    first, second = (nodes.client(own_app["api_key"], of=node) for node in nodes.apis)
    async with first, second:
        assert [(await client.get("/v1/info")).status_code for client in (first, second)] == [200, 200]
        nodes.run("apps", "configure", own_app["app_id"], "--set", "tokens=2")
        await until(lambda: answers(second, "t0 t1 "))
        nodes.run("apps", "disable", own_app["app_id"])
        await until(lambda: has_status(second, 403))
        nodes.run("apps", "enable", own_app["app_id"])
        await until(lambda: has_status(second, 200))
        nodes.run("apps", "rotate-key", own_app["app_id"])
        await until(lambda: has_status(second, 401))


async def answers(client: httpx.AsyncClient, answer: str) -> bool:
    found: str = (await client.post(SEND, json=body("hello"))).json()["answer"]
    return found == answer


async def has_status(client: httpx.AsyncClient, status: int) -> bool:
    return (await client.get("/v1/info")).status_code == status


async def test_a_command_works_beside_the_nodes_and_none_has_the_ledger_alone(nodes, own_app, tmp_path):
    folder = tmp_path / "elsewhere"
    give_master_key(folder, (nodes.apis[0].data_folder / "master.key").read_bytes())
    assert run_json(folder, "doctor", env=nodes.env)["ok"]
    run_json(folder, "apps", "configure", own_app["app_id"], "--set", "tokens=1", env=nodes.env)
    async with nodes.client(own_app["api_key"], of=nodes.apis[0]) as client:
        await until(lambda: answers(client, "t0 "))
    refused = run_command(folder, "restored", env=nodes.env)
    assert refused.returncode == 1
    assert "in use by running nodes, and this needs it alone: stop them first" in refused.stderr
    second = run_command(nodes.workers[0].data_folder, "worker", env=nodes.env)
    assert second.returncode == 1
    assert f"{nodes.workers[0].data_folder} is in use by another server" in second.stderr


async def test_a_worker_that_ends_hands_over_and_one_that_is_killed_is_followed(nodes, app):
    """Whoever follows gets the whole answer."""
    async with nodes.client(app["api_key"]) as client:
        for end in (signal.SIGTERM, signal.SIGKILL):
            sent = await begin(client, "/script tokens=60 interval_ms=25")
            following = asyncio.create_task(
                client.get(f"/v1/messages/{sent['message_id']}/stream", params={"user": "ada"}, timeout=30)
            )
            await until(lambda task=sent["task_id"]: is_running(client, task))
            await asyncio.to_thread(restart, answering(nodes, sent["message_id"]), end)
            assert answer_of(events_of((await following).text)) == "".join(f"t{number} " for number in range(60))


def answering(nodes: Nodes, message_id: str) -> ServerProcess:
    with connection_to(nodes.env["CHATLEDGER_DATABASE_URL"]) as connection:
        found = connection.exec_driver_sql("SELECT worker FROM leases WHERE message_id = %s", (message_id,))
        name = found.scalar_one().partition(":")[0]
    return next(node for node in nodes.workers if node.data_folder.name == name)


def restart(node: ServerProcess, number: int) -> None:
    node.signal(number)
    if number == signal.SIGTERM:
        node.signal(number)  # at once, without a grace
    node.wait()
    node.start()
