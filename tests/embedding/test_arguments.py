"""What a host can pass, by its name: it changes something, or is refused."""

from uuid import UUID

import pytest

from chatledger import (
    AppConfiguration,
    Chatledger,
    InvalidParameterError,
    MessageStopped,
    NotFoundError,
    Settings,
    SettingsProblemError,
    Slice,
    StopRequested,
    StorageUnavailableError,
    UnauthorizedError,
)
from chatledger.server_settings import load_settings
from tests.embedding.hosting import ENDLESS, first_text, hosted, new_app

NOWHERE = UUID("00000000-0000-4000-8000-000000000000")


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.fixture(scope="module")
async def ledger(tmp_path_factory):
    async with hosted(tmp_path_factory.mktemp("host")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("app", lambda ledger, app, sent: ledger.messages.send(str(app), "hello")),
        ("app", lambda ledger, app, sent: ledger.apps.get("an app")),
        ("app", lambda ledger, app, sent: ledger.apps.configure(None, AppConfiguration(generator="scripted"))),
        ("app", lambda ledger, app, sent: ledger.apps.rotate_key(str(app))),
        ("app", lambda ledger, app, sent: ledger.messages.get(sent.message_id, user="ada")),
        ("app", lambda ledger, app, sent: anext(ledger.messages.follow(sent.message_id, user="ada"))),
        ("user", lambda ledger, app, sent: ledger.messages.send(app, "hello", user=5)),
        ("user", lambda ledger, app, sent: ledger.messages.send(app, "hello", user="\ud83d")),
        ("user", lambda ledger, app, sent: ledger.messages.send(app, "hello", user="")),
        ("user", lambda ledger, app, sent: ledger.messages.get(sent.message_id, app=app, user="")),
        ("user", lambda ledger, app, sent: ledger.messages.get(sent.message_id, app=app, user="\0")),
        ("user", lambda ledger, app, sent: ledger.tasks.stop(app, sent.task_id, user="\0\0")),
        ("user", lambda ledger, app, sent: ledger.conversations.list(app, user="")),
        ("app", lambda ledger, app, sent: ledger.dead_letters.list(app=str(app))),
        ("code", lambda ledger, app, sent: ledger.dead_letters.list(code="bad_luck")),
        ("limit", lambda ledger, app, sent: ledger.dead_letters.list(limit=0)),
        ("last_id", lambda ledger, app, sent: ledger.dead_letters.list(last_id="the last")),
        ("message_id", lambda ledger, app, sent: ledger.dead_letters.show(str(sent.message_id))),
        ("message_id", lambda ledger, app, sent: ledger.dead_letters.replay(str(sent.message_id))),
        ("query", lambda ledger, app, sent: ledger.messages.send(app, None)),
        ("query", lambda ledger, app, sent: ledger.messages.send(app, "half of a pair: \ud83d")),
        ("trace", lambda ledger, app, sent: ledger.messages.send(app, "hello", trace="not a trace")),
        ("trace", lambda ledger, app, sent: ledger.messages.send(app, "hello", trace=5)),
        ("inputs", lambda ledger, app, sent: ledger.messages.send(app, "hello", inputs=[1])),
        ("inputs", lambda ledger, app, sent: ledger.messages.ask(app, "hello", inputs="")),
        ("conversation_id", lambda ledger, app, sent: ledger.messages.send(app, "hello", conversation_id="new")),
        ("conversation_id", lambda ledger, app, sent: ledger.messages.history(app, str(sent.conversation_id))),
        ("message_id", lambda ledger, app, sent: ledger.messages.get(str(sent.message_id))),
        ("message_id", lambda ledger, app, sent: ledger.messages.events(str(sent.message_id))),
        ("message_id", lambda ledger, app, sent: ledger.messages.stop(app, str(sent.message_id))),
        ("message_id", lambda ledger, app, sent: ledger.messages.withdraw_rating(app, "1", user="ada")),
        ("task_id", lambda ledger, app, sent: ledger.tasks.get(str(sent.task_id))),
        ("task_id", lambda ledger, app, sent: ledger.tasks.stop(app, str(sent.task_id))),
        ("first_id", lambda ledger, app, sent: ledger.messages.history(app, sent.conversation_id, first_id="1")),
        ("last_id", lambda ledger, app, sent: ledger.conversations.list(app, last_id="1")),
        ("pinned", lambda ledger, app, sent: ledger.conversations.list(app, pinned="no")),
        ("pinned", lambda ledger, app, sent: ledger.conversations.list(app, pinned=1)),
        ("parent_id", lambda ledger, app, sent: ledger.messages.send(app, "hello", parent_id="1")),
        ("message_id", lambda ledger, app, sent: ledger.messages.regenerate(app, str(sent.message_id))),
        ("conversation_id", lambda ledger, app, sent: ledger.conversations.get(app, str(sent.conversation_id))),
        ("conversation_id", lambda ledger, app, sent: ledger.conversations.rename(app, "1", "Mine")),
        ("name", lambda ledger, app, sent: ledger.conversations.rename(app, sent.conversation_id, 5)),
        ("conversation_id", lambda ledger, app, sent: ledger.conversations.delete(app, "1")),
        ("conversation_id", lambda ledger, app, sent: ledger.conversations.variables(app, "1")),
        ("variable_name", lambda ledger, app, sent: ledger.conversations.variables(app, sent.conversation_id, name=5)),
        ("last_id", lambda ledger, app, sent: ledger.conversations.variables(app, sent.conversation_id, last_id="1")),
        ("variable_id", lambda ledger, app, sent: ledger.conversations.set_variable(app, sent.conversation_id, "1", 5)),
        *(
            (
                "value",
                lambda ledger, app, sent, value=value: ledger.conversations.set_variable(
                    app, sent.conversation_id, NOWHERE, value
                ),
            )
            for value in (object(), "half of a pair: \ud83d", nested(5_000))
        ),
        ("limit", lambda ledger, app, sent: ledger.messages.events(sent.message_id, limit=0)),
        ("limit", lambda ledger, app, sent: ledger.messages.events(sent.message_id, limit=True)),
        ("after", lambda ledger, app, sent: ledger.messages.events(sent.message_id, after=-1)),
        ("after", lambda ledger, app, sent: ledger.messages.events(sent.message_id, after=6)),
        ("after", lambda ledger, app, sent: anext(ledger.messages.follow(sent.message_id, after=-1))),
        ("after", lambda ledger, app, sent: anext(ledger.messages.follow(sent.message_id, after=100))),
        ("user", lambda ledger, app, sent: ledger.messages.rate(app, sent.message_id, "like", user=None)),
        ("user", lambda ledger, app, sent: ledger.messages.withdraw_rating(app, sent.message_id, user=None)),
        ("rating", lambda ledger, app, sent: ledger.messages.rate(app, sent.message_id, None, user="ada")),
        (
            "content",
            lambda ledger, app, sent: ledger.messages.rate(app, sent.message_id, "like", content=5, user="ada"),
        ),
        (
            "mode",
            lambda ledger, app, sent: ledger.apps.create("chart", "An app", AppConfiguration(generator="scripted")),
        ),
        ("name", lambda ledger, app, sent: ledger.apps.create("chat", " ", AppConfiguration(generator="scripted"))),
        ("name", lambda ledger, app, sent: ledger.operators.issue(None, ["audit"])),
        ("name", lambda ledger, app, sent: ledger.operators.issue("\0 ", ["audit"])),
        ("scopes", lambda ledger, app, sent: ledger.operators.issue("Ann", ["everything"])),
        ("scopes", lambda ledger, app, sent: ledger.operators.issue("Ann", [])),
        ("configuration", lambda ledger, app, sent: ledger.apps.create("chat", "An app", {"generator": "scripted"})),
        ("configuration", lambda ledger, app, sent: ledger.apps.configure(app, {"generator": "scripted"})),
        (
            "configuration",
            lambda ledger, app, sent: ledger.apps.create(
                "chat", "An app", AppConfiguration(generator="scripted", tags=5)
            ),
        ),
        (
            "configuration",
            lambda ledger, app, sent: ledger.apps.configure(
                app, AppConfiguration(generator="scripted", description="\ud83d")
            ),
        ),
    ],
)
async def test_what_cannot_be_is_refused_by_name_and_changes_nothing(ledger, field, call):
    app = await new_app(ledger, tokens=2)
    sent = await ledger.messages.ask(app, "hello", user="ada")
    before = await ledger.messages.events(sent.message_id), await ledger.apps.list()
    with pytest.raises(InvalidParameterError) as refused:
        await call(ledger, app, sent)
    assert refused.value.field == field
    assert before == (await ledger.messages.events(sent.message_id), await ledger.apps.list())


@pytest.mark.parametrize("inputs", [[], [("query", "hello")], "hello"])
async def test_inputs_of_a_completion_that_are_none(ledger, inputs):
    app = await new_app(ledger, "completion", tokens=1)
    for asking in (ledger.completions.send, ledger.completions.ask):
        with pytest.raises(InvalidParameterError, match="must be an object") as refused:
            await asking(app, query="hello", inputs=inputs)
        assert refused.value.field == "inputs"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("port", "9000"), ("host", "0.0.0.0"), ("max_body_bytes", "2048"), ("http_server", "uvicorn")],
)
async def test_settings_of_a_server_are_refused_by_name(tmp_path, monkeypatch, variable, value):
    monkeypatch.chdir(tmp_path)
    async with Chatledger.open(load_settings()):
        pass
    monkeypatch.setenv(f"CHATLEDGER_{variable.upper()}", value)
    with pytest.raises(SettingsProblemError, match=rf"\A{variable}: an embedded chatledger has no server\Z"):
        async with Chatledger.open(load_settings()):
            pass


async def test_a_length_that_the_settings_bound(tmp_path):
    async with hosted(tmp_path, max_query_characters=5) as ledger:
        app = await new_app(ledger, tokens=1)
        await ledger.messages.ask(app, "12345")
        with pytest.raises(InvalidParameterError, match="not be longer than 5 characters"):
            await ledger.messages.ask(app, "123456")


# Who asks


async def test_the_host_itself_may_read_everything(ledger):
    app, other = await new_app(ledger, tokens=2), await new_app(ledger, tokens=2)
    sent = await ledger.messages.ask(app, "hello", user="ada")
    assert (await ledger.messages.get(sent.message_id)).message.query == "hello"
    assert (await ledger.tasks.get(sent.task_id)).state == "completed"
    assert [event.version async for event in ledger.messages.follow(sent.message_id, after=2)] == [3, 4, 5]
    for reading in (
        ledger.messages.get(sent.message_id, app=other),
        ledger.messages.get(sent.message_id, app=app, user="eve"),
        ledger.messages.events(sent.message_id, app=other),
        ledger.tasks.get(sent.task_id, app=other),
        anext(ledger.messages.follow(sent.message_id, app=app, user="eve")),
        ledger.tasks.stop(other, sent.task_id),
        ledger.messages.stop(app, sent.message_id, user="eve"),
        ledger.tasks.get(NOWHERE),
        ledger.messages.get(sent.message_id, app=NOWHERE),
    ):
        with pytest.raises(NotFoundError):
            await reading


async def test_an_event_tells_who_did_it_and_why(ledger):
    app = await new_app(ledger, tokens=2)
    sent = await ledger.messages.send(app, "hello", user="ada", trace="a-trace")
    assert len([event async for event in ledger.messages.follow(sent.message_id)]) >= 4
    page = await ledger.messages.events(sent.message_id, limit=2)
    created, started = page.items
    assert page.has_more
    assert (created.context.actor.kind, created.context.trace, created.context.app_id) == ("end_user", "a-trace", app)
    assert (started.context.actor.kind, started.context.correlation_id) == ("worker", sent.task_id)


async def test_after_the_last_event_there_are_none(ledger):
    app = await new_app(ledger, tokens=2)
    sent = await ledger.messages.ask(app, "hello", user="ada")
    version = (await ledger.messages.get(sent.message_id)).version
    assert await ledger.messages.events(sent.message_id, after=version) == Slice((), False)


async def test_a_stop_by_message(ledger):
    app = await new_app(ledger, **ENDLESS)
    sent = await ledger.messages.send(app, "hello", user="ada")
    await first_text(ledger, sent.message_id)
    await ledger.messages.stop(app, sent.message_id, user="ada")
    assert isinstance([event async for event in ledger.messages.follow(sent.message_id)][-1].body, MessageStopped)
    await ledger.messages.stop(app, sent.message_id, user="ada")


@pytest.mark.parametrize(("user", "kind"), [("ada", "end_user"), (None, "api_key")])
async def test_a_stop_is_the_doing_of_whoever_asked_for_it(ledger, user, kind):
    app = await new_app(ledger, **ENDLESS)
    sent = await ledger.messages.send(app, "hello", user="ada")
    await first_text(ledger, sent.message_id)
    await ledger.messages.stop(app, sent.message_id, user=user)
    facts = (await ledger.messages.events(sent.message_id)).items
    (stop,) = [fact for fact in facts if isinstance(fact.envelope.body, StopRequested)]
    assert stop.context.actor.kind == kind


async def test_keys_and_tokens_open_what_they_are_for(ledger):
    created = await ledger.apps.create("chat", "An app", AppConfiguration(generator="scripted"))
    assert (await ledger.apps.of_key(created.api_key)).app_id == created.app_id
    key = await ledger.apps.rotate_key(created.app_id)
    assert (await ledger.apps.of_key(key)) == await ledger.apps.get(created.app_id)
    issued = await ledger.operators.issue("Ann", ["audit"])
    assert (await ledger.operators.of_token(issued.token)).scopes == {"audit"}
    for opening in (ledger.apps.of_key(created.api_key), ledger.apps.of_key("app-x"), ledger.operators.of_token(key)):
        with pytest.raises(UnauthorizedError):
            await opening


async def test_a_configuration_counts_from_the_next_message_on(ledger):
    app = await new_app(ledger, text="before")
    assert (await ledger.messages.ask(app, "hello")).text == "before"
    await ledger.apps.configure(app, AppConfiguration(generator="scripted", settings={"text": "after"}))
    assert (await ledger.apps.get(app)).configuration.settings == {"text": "after"}
    assert (await ledger.messages.ask(app, "hello")).text == "after"


async def test_a_database_that_does_not_answer(tmp_path):
    settings = Settings(data_dir=tmp_path / "data", database_url="postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(StorageUnavailableError):
        async with Chatledger.open(settings):
            pass


async def test_a_data_folder_of_the_hosts_choice(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger/chat.db"
    async with Chatledger.open(Settings(data_dir=tmp_path / "keys", database_url=url)):
        pass
    assert (tmp_path / "ledger" / "chat.db").exists()
    assert (tmp_path / "keys" / "keys.db").exists()
