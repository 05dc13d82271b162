"""What a generator is told of a conversation: the branch that a message stands in, and the variables as they were."""

import asyncio

import pytest

from chatledger import AppConfiguration, DeclaredVariable, InputVariable, Text
from chatledger.adapters.generator.prompt import fill_prompt
from chatledger.domain.configuration import Limits
from tests.embedding.generators import Counting
from tests.embedding.hosting import hosted

TEMPLATE = "{{tone}} {{mood}} {{count}} {{nothing}}"


class Recalling(Counting):
    """Says what it knows."""

    name = "recalling"

    def __init__(self):
        super().__init__()
        self.told = asyncio.Event()

    async def generate(self, request):
        if request.query == "silence":
            return
        if request.query == "late":
            await self.told.wait()
        said = " ".join(exchange.query for exchange in await request.history())
        yield Text(f"[{said}] {await fill_prompt(TEMPLATE, request)}")


@pytest.fixture
def recalling():
    return Recalling()


@pytest.fixture
async def ledger(tmp_path, recalling):
    async with hosted(tmp_path, generators=[recalling]) as opened:
        yield opened


async def new_app(ledger, **more):
    configuration = AppConfiguration(
        generator="recalling",
        user_input_form=(InputVariable(variable="tone"), InputVariable(variable="mood")),
        conversation_variables=(
            DeclaredVariable(name="mood", default="calm"),
            DeclaredVariable(name="count", value_type="number", default=1),
        ),
        **more,
    )
    return (await ledger.apps.create("chat", "An app", configuration)).app_id


async def recalled(ledger, app, query, **more):
    """What is said before, and the message."""
    answer = await ledger.messages.ask(app, query, user="ada", **more)
    return answer.text[1 : answer.text.rfind("]")].split(), answer


async def test_history_follows_the_branch_that_a_message_stands_in(ledger):
    app = await new_app(ledger)
    said, a = await recalled(ledger, app, "a")
    here = a.conversation_id
    assert said == []
    said, b = await recalled(ledger, app, "b", conversation_id=here)
    assert said == ["a"]
    said, _ = await recalled(ledger, app, "silence", conversation_id=here)
    said, c = await recalled(ledger, app, "c", conversation_id=here)
    assert said == ["a", "b"]
    said, d = await recalled(ledger, app, "d", conversation_id=here, parent_id=a.message_id)
    assert said == ["a"]
    said, _ = await recalled(ledger, app, "e", conversation_id=here, parent_id=d.message_id)
    assert said == ["a", "d"]
    said, _ = await recalled(ledger, app, "f", conversation_id=here, parent_id=c.message_id)
    assert said == ["a", "b", "c"]
    said, root = await recalled(ledger, app, "root", conversation_id=here, parent_id=None)
    assert said == []
    said, _ = await recalled(ledger, app, "g", conversation_id=here, parent_id=d.message_id)
    assert said == ["a", "d"]
    said, _ = await recalled(ledger, app, "h", conversation_id=here, parent_id=root.message_id)
    assert said == ["root"]
    said, _ = await recalled(ledger, app, "i", conversation_id=here)
    assert said == ["root", "h"]

    again = await ledger.messages.regenerate(app, b.message_id, user="ada")
    async for _ in ledger.messages.follow(again.message_id):
        pass
    said, _ = await recalled(ledger, app, "j", conversation_id=here)
    assert said == ["a", "b"]
    detail = await ledger.messages.get(b.message_id)
    assert again.message_id in detail.siblings
    assert (await ledger.messages.get(again.message_id)).message.answer == detail.message.answer


async def test_history_fits_into_the_tokens_that_an_app_allows(ledger):
    # The answer to "aaa" is "[] . calm 1 {{nothing}}" and costs about a dozen tokens by itself.
    app = await new_app(ledger, limits=Limits(context_tokens=45))
    _, first = await recalled(ledger, app, "aaa")
    here = first.conversation_id
    for query in ("bbb", "ccc", "ddd"):
        said, _ = await recalled(ledger, app, query, conversation_id=here)
    assert said == ["bbb", "ccc"]


async def test_a_prompt_sees_variables_as_they_were_when_its_message_was_sent(ledger, recalling):
    app = await new_app(ledger)
    _, first = await recalled(ledger, app, "hello")
    here = first.conversation_id
    _, count = (await ledger.conversations.variables(app, here, user="ada")).items
    await ledger.conversations.set_variable(app, here, count.variable_id, 2, user="ada")
    late = await ledger.messages.send(app, "late", user="ada", conversation_id=here)
    await ledger.conversations.set_variable(app, here, count.variable_id, 3, user="ada")
    recalling.told.set()
    async for _ in ledger.messages.follow(late.message_id):
        pass
    assert (await ledger.messages.get(late.message_id)).message.answer.endswith(" 2 {{nothing}}")


async def test_inputs_and_then_variables_fill_the_places_of_a_prompt(ledger):
    app = await new_app(ledger)

    async def filled(**more):
        _, answer = await recalled(ledger, app, "hello", **more)
        return answer.text.rpartition("] ")[2], answer

    text, first = await filled(inputs={"tone": "dry", "mood": "mine"})
    assert text == "dry mine 1 {{nothing}}"
    here = first.conversation_id
    _, count = (await ledger.conversations.variables(app, here, user="ada")).items
    await ledger.conversations.set_variable(app, here, count.variable_id, 2, user="ada")
    text, _ = await filled(conversation_id=here)
    assert text == "  2 {{nothing}}"
