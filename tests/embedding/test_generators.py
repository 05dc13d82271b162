"""A host's own generator: asked as the built-in ones are, and no more trusted."""

import asyncio

import pytest

from chatledger import (
    AgentGenerator,
    AgentThoughtRecorded,
    AppConfiguration,
    Chatledger,
    FileAttached,
    FileMade,
    GenerationFailedError,
    InvalidParameterError,
    Settings,
    SettingsProblemError,
    Switch,
    ToolOutput,
)
from chatledger.server_settings import ServerSettings
from tests.embedding.generators import Counting, Failing, Writing
from tests.embedding.hosting import DEADLINE, hosted, new_app
from tests.support.fake_openai import FakeOpenAI, answer, calling


async def test_it_answers_and_is_closed_with_chatledger(tmp_path):
    generator = Counting()
    async with hosted(tmp_path, generators=[generator]) as ledger:
        app = await new_app(ledger, generator="counting", unit="words so far")
        first = await ledger.messages.ask(app, "one two three", user="ada")
        second = await ledger.messages.ask(app, "four", user="ada", conversation_id=first.conversation_id)
        assert (first.text, second.text) == ("3 words so far", "4 words so far")
        assert (second.end.finish_reason, second.end.usage.prompt_tokens) == ("length", 4)
        request = generator.asked[1]
        assert (request.message_id, request.attempt, request.mode) == (second.message_id, 1, "chat")
        assert generator.closed == 0
    assert generator.closed == 1


async def test_one_that_cannot_be_closed_holds_nothing_else_up(tmp_path):
    class Clinging(Counting):
        async def close(self):
            raise RuntimeError("it does not let go")

    other = Counting()
    other.name = "other"
    with pytest.raises(RuntimeError, match="does not let go"):
        async with hosted(tmp_path, generators=[other, Clinging()]):
            pass
    assert other.closed == 1
    async with hosted(tmp_path):
        pass


async def test_its_settings_are_its_own(tmp_path):
    async with hosted(tmp_path, generators=[Counting()]) as ledger:
        with pytest.raises(InvalidParameterError, match="pace: no such setting") as refused:
            await new_app(ledger, generator="counting", pace=5)
        assert refused.value.field == "settings"
        with pytest.raises(InvalidParameterError, match=r"'failing'.*counting") as refused:
            await new_app(ledger, generator="failing")
        assert refused.value.field == "generator"


async def test_an_agent_of_the_hosts_own_takes_the_place_of_the_built_in_one(tmp_path):
    def stock(item: str) -> ToolOutput:
        """Look up how many there are."""
        return ToolOutput({item: 7}, files=(FileMade(f"{item}.txt", b"seven"),))

    async with FakeOpenAI(calling(("stock", {"item": "pears"}), saying=("Let me see.",)), answer("Seven.")) as provider:
        agent = AgentGenerator(tools=[stock], base_urls={"openai": provider.base_url}, read_timeout=5)
        async with hosted(tmp_path, generators=[agent]) as ledger:
            app = await new_app(ledger, mode="agent-chat", generator="agent", model="m", tools=["stock"])
            sent = await ledger.messages.send(app, "How many pears?", user="ada", automatic_name=False)
            followed = [event.body async for event in ledger.messages.follow(sent.message_id)]
            message = (await ledger.messages.get(sent.message_id)).message
            (file,) = message.answer_files
            content = b"".join([piece async for piece in ledger.files.read(file.upload_file_id)])
    assert message.answer == "Let me see.\nSeven."
    steps = [body for body in followed if isinstance(body, AgentThoughtRecorded)]
    assert [(step.position, step.tool, step.observation) for step in steps] == [
        (1, "", ""),
        (1, "stock", ""),
        (1, "stock", '{"stock":{"pears":7}}'),
        (2, "", ""),
        (2, "", ""),
    ]
    assert [thought.position for thought in message.thoughts] == [1, 2]
    assert (file.name, content) == ("pears.txt", b"seven")
    assert message.thoughts[0].files == (file.file_id,)
    assert [body.file.name for body in followed if isinstance(body, FileAttached)] == ["pears.txt"]


async def test_two_agents_need_two_names(tmp_path):
    async with hosted(tmp_path, generators=[AgentGenerator(name="clerk"), AgentGenerator()]) as ledger:
        await new_app(ledger, generator="clerk", model="m")
    with pytest.raises(InvalidParameterError, match="'agent'"):
        async with hosted(tmp_path, generators=[AgentGenerator(), AgentGenerator()]):
            pass


@pytest.mark.parametrize("name", ["scripted", "extractive", "local", "openai_compatible", "agent", "counting"])
async def test_no_two_have_one_name(tmp_path, name):
    first, second = Counting(), Counting()
    second.name = name
    with pytest.raises(InvalidParameterError, match=repr(name)) as refused:
        async with Chatledger.open(Settings(data_dir=tmp_path / "data"), generators=[first, second]):
            pass
    assert refused.value.field == "generators"
    assert (first.closed, second.closed) == (1, 1)
    assert list(tmp_path.iterdir()) == []


async def test_it_is_closed_where_the_settings_are_refused(tmp_path):
    generator = Counting()
    with pytest.raises(SettingsProblemError, match="port"):
        async with Chatledger.open(ServerSettings(data_dir=tmp_path / "data", port=9000), generators=[generator]):
            pass
    assert generator.closed == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [
        ("transient", "completion_request_error", "the provider's words"),
        ("quota", "provider_quota_exceeded", "the provider's words"),
        ("credentials", "provider_not_initialize", "the provider's words"),
        ("invalid", "completion_request_error", "the provider's words"),
        ("content", "completion_request_error", "the provider's words"),
        ("internal", "internal_server_error", "the provider's words"),
        ("bug", "internal_server_error", "Internal Server Error, please contact support."),
        ("timeout", "internal_server_error", "Internal Server Error, please contact support."),
        ("part", "internal_server_error", "Internal Server Error, please contact support."),
        ("text", "internal_server_error", "Internal Server Error, please contact support."),
        ("reason", "internal_server_error", "Internal Server Error, please contact support."),
        ("count", "internal_server_error", "Internal Server Error, please contact support."),
        ("resources", "internal_server_error", "Internal Server Error, please contact support."),
        ("surrogate", "internal_server_error", "Internal Server Error, please contact support."),
    ],
)
async def test_its_faults_end_its_message_alone(tmp_path, caplog, fault, code, reason):
    async with hosted(tmp_path, generators=[Failing()], first_retry_delay=0, longest_retry_delay=0) as ledger:
        app = await new_app(ledger, generator="failing")
        with pytest.raises(GenerationFailedError) as failed:
            await asyncio.wait_for(ledger.messages.ask(app, fault, user="ada"), DEADLINE)
        assert (failed.value.code, failed.value.reason) == (code, reason)
        assert str(failed.value) == code
        message = (await ledger.messages.get(failed.value.message_id)).message
        assert (message.query, message.task_id) == (fault, failed.value.task_id)
        assert message.conversation_id == failed.value.conversation_id
        assert "secret" not in caplog.text


async def name_of(ledger, app):
    (conversation,) = (await ledger.conversations.list(app, user="ada")).items
    return conversation.name


@pytest.mark.parametrize(
    ("model", "name", "questions"),
    [("good", "Counting words", ("And letters?",)), ("failing", "one two three", ()), ("broken", "one two three", ())],
)
async def test_it_may_have_a_model_beside_its_answers(tmp_path, model, name, questions):
    async with hosted(tmp_path, generators=[Writing()]) as ledger:
        configuration = AppConfiguration(
            generator="writing", settings={"model": model}, suggested_questions_after_answer=Switch(enabled=True)
        )
        app = (await ledger.apps.create("chat", "An app", configuration)).app_id
        answer = await ledger.messages.ask(app, "one two three", user="ada")
        assert answer.text == "3 words"
        assert await ledger.messages.suggest(app, answer.message_id, user="ada") == questions
        async with asyncio.timeout(DEADLINE):
            while await name_of(ledger, app) != name:  # noqa: ASYNC110 - the state is another's
                await asyncio.sleep(0.01)
