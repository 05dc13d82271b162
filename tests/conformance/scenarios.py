"""What both surfaces are put through. A scenario makes its own apps, and leaves nothing running."""

from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import pytest

from chatledger.application.errors import (
    ConversationBusyError,
    FeatureDisabledError,
    ForbiddenError,
    GenerationFailedError,
    IdempotencyKeyReusedError,
    InvalidParameterError,
    NotFoundError,
    QuotaUsedUpError,
    TooLongError,
    TooManyRequestsError,
    TypeMismatchError,
    WrongModeError,
)
from chatledger.application.files.attaching import FileReference
from chatledger.domain.configuration import (
    AnnotationReply,
    AppConfiguration,
    DeclaredVariable,
    FileUpload,
    Limits,
    ModerationOfStage,
    Switch,
    WordAvoidance,
)
from chatledger.domain.inputs import InputVariable
from tests.conformance.service import Listed, Seen, Service, Streamed
from tests.support.server import until

NOWHERE = UUID("00000000-0000-4000-8000-000000000000")

FORM = (
    InputVariable(variable="name", required=True, max_length=5),
    InputVariable(variable="tone", type="select", options=("kind", "curt"), default="kind"),
    InputVariable(variable="year", type="number"),
    InputVariable(variable="brief", type="checkbox"),
)


def says(text: str = "so it is", **more: Any) -> AppConfiguration:
    return AppConfiguration(generator="scripted", settings={"text": text} | more)


async def nothing_is_found(missing: str, *asked: Any) -> None:
    for asking in asked:
        with pytest.raises(NotFoundError) as refused:
            await asking
        assert refused.value.missing == missing


async def refused_by_name(field: str, *asked: Any) -> None:
    for asking in asked:
        with pytest.raises(InvalidParameterError) as refused:
            await asking
        assert refused.value.field == field


# Sending and following


async def a_question_and_its_answer(service: Service) -> None:
    app = await service.create_app("chat", says())
    asked = await service.ask(app, "Is it so?")
    assert (asked.text, asked.end, asked.tokens) == ("so it is", "completed", 3)
    assert await service.message(app, asked.ids.message) == (Seen("Is it so?", "so it is", False, None), 0)
    assert await service.task(app, asked.ids.task) == ("completed", 1, None)


async def an_answer_that_nobody_waits_for(service: Service) -> None:
    app = await service.create_app("chat", says())
    ids = await service.send(app, "Is it so, as people say?", trace="a-trace", automatic_name=False)
    assert await service.follow(app, ids) == Streamed("so it is", "completed")
    assert await service.follow(app, ids) == Streamed("so it is", "completed")
    assert [listed.name for listed in (await service.conversations(app))[0]] == ["Is it so, as people …"]


async def an_agent_is_sent_to_as_a_chat_is(service: Service) -> None:
    app = await service.create_app("agent-chat", says(steps=2, makes_files=True))
    ids = await service.send(app, "Is it so?")
    assert await service.follow(app, ids) == Streamed("s1\ns2\nso it is", "completed")
    assert [name for _, name, _ in await service.files(app, ids.message)] == ["step-1.txt", "step-2.txt"]


async def a_stream_can_be_followed_from_any_version_it_has(service: Service) -> None:
    app = await service.create_app("chat", says())
    ids = await service.send(app, "Is it so?")
    assert (await service.follow(app, ids)).text == "so it is"
    names = [name for name, _ in await service.events(app, ids.message)]
    assert (names[:3], names[-1]) == (
        ["MessageCreated", "GenerationStarted", "AnswerChunkAppended"],
        "MessageCompleted",
    )
    rest = await service.follow(app, ids, after=3)
    assert "so it is".endswith(rest.text)
    assert rest.text != "so it is"
    assert await service.follow(app, ids, after=2) == Streamed("so it is", "completed")
    assert (await service.follow(app, ids, after=len(names))).text == ""
    await refused_by_name("after", service.follow(app, ids, after=len(names) + 1))


async def a_conversation_can_be_followed_from_any_position(service: Service) -> None:
    app = await service.create_app("chat", says())
    first = (await service.ask(app, "Is it so?")).ids
    second = await service.send(app, "And now?", conversation=first.conversation)
    told = await service.told(app, first.conversation, 2)
    assert [(one.message, one.text) for one in told] == [(first.message, "so it is"), (second.message, "so it is")]
    assert await service.told(app, first.conversation, 1, after=told[0].position) == told[1:]
    assert await service.told(app, first.conversation, 2, None, after=1) == told
    await refused_by_name("after", service.told(app, first.conversation, 1, after=told[1].position + 1_000))
    await nothing_is_found(
        "conversation",
        service.told(app, first.conversation, 1, "bob"),
        service.told(app, NOWHERE, 1),
        service.told(await service.create_app("chat", says()), first.conversation, 1),
    )
    await service.delete(app, first.conversation)
    await nothing_is_found("conversation", service.told(app, first.conversation, 1))


async def what_came_after_the_end_is_no_part_of_the_stream(service: Service) -> None:
    app = await service.create_app("chat", says())
    asked = await service.ask(app, "Is it so?")
    await service.rate(app, asked.ids.message, "like")
    events = await service.events(app, asked.ids.message)
    assert events[-1] == ("FeedbackGiven", "end_user")
    assert await service.follow(app, asked.ids) == Streamed("so it is", "completed")
    end = len(events) - 1
    assert events[end - 1][0] == "MessageCompleted"
    assert await service.versions(app, asked.ids, after=end - 1) == [end]
    for after in (end, end + 1):
        assert await service.versions(app, asked.ids, after=after) == []
    await refused_by_name("after", service.follow(app, asked.ids, after=end + 2))


async def a_conversation_goes_on(service: Service) -> None:
    app = await service.create_app("chat", says(tokens=1))
    first = await service.ask(app, "One?")
    for query in ("Two?", "Three?", "Four?"):
        later = await service.ask(app, query, conversation=first.ids.conversation)
        assert later.ids.conversation == first.ids.conversation
    latest, has_more = await service.history(app, first.ids.conversation, limit=2)
    assert ([seen.query for seen in latest], has_more) == (["Three?", "Four?"], True)
    everything, has_more = await service.history(app, first.ids.conversation)
    assert ([seen.query for seen in everything], has_more) == (["One?", "Two?", "Three?", "Four?"], False)
    before, has_more = await service.history(app, first.ids.conversation, first=later.ids.message)
    assert ([seen.query for seen in before], has_more) == (["One?", "Two?", "Three?"], False)


async def a_completion(service: Service) -> None:
    form = (InputVariable(variable="query", type="paragraph", required=True), InputVariable(variable="tone"))
    configuration = AppConfiguration(generator="scripted", settings={"text": "done"}, user_input_form=form)
    app = await service.create_app("completion", configuration)
    for inputs, query in (
        ({"tone": "kind"}, "sum it up"),
        ({"query": "as given"}, "as sent"),
        ({"query": "alone"}, ""),
    ):
        assert (await service.complete(app, inputs, query)).text == "done"
    await refused_by_name("inputs", service.complete(app, {"tone": "kind"}))


async def inputs_are_taken_as_the_app_declares_them(service: Service) -> None:
    configuration = AppConfiguration(
        generator="scripted",
        settings={"text": "hello"},
        user_input_form=FORM,
        opening_statement="Welcome, {{name}}!",
    )
    app = await service.create_app("chat", configuration)
    taken = {"name": "A\0da", "year": "1815", "brief": "yes", "undeclared": True}
    assert (await service.ask(app, "Who?", inputs=taken)).text == "hello"
    await refused_by_name(
        "inputs",
        service.ask(app, "Who?"),
        service.ask(app, "Who?", inputs={"name": "Augusta"}),
        service.ask(app, "Who?", inputs={"name": 5}),
        service.ask(app, "Who?", inputs={"name": "Ada", "tone": "loud"}),
        service.ask(app, "Who?", inputs={"name": "Ada", "year": "then"}),
        service.ask(app, "Who?", inputs={"name": "Ada", "brief": "perhaps"}),
    )


async def what_is_no_question(service: Service) -> None:
    app = await service.create_app("chat", says())
    await refused_by_name("query", service.ask(app, ""), service.ask(app, "\0"), service.send(app, "\0\0"))
    await refused_by_name("user", service.ask(app, "Is it so?", "u" * 256))
    with pytest.raises(TooLongError) as refused:
        await service.ask(app, "x" * 100_001)
    assert refused.value.field == "query"
    assert (await service.ask(app, "\0Is it\0 so?\0", "a\0da")).text == "so it is"
    assert [listed.name for listed in (await service.conversations(app))[0]] == ["Is it so?"]


async def apps_of_the_wrong_kind(service: Service) -> None:
    chat, completion = await service.create_app("chat", says()), await service.create_app("completion", says())
    for asking, needs in (
        (service.ask(completion, "Is it so?"), "chat"),
        (service.ask(completion, ""), "chat"),
        (service.history(completion, NOWHERE), "chat"),
        (service.conversations(completion), "chat"),
        (service.complete(chat, {}), "completion"),
    ):
        with pytest.raises(WrongModeError) as refused:
            await asking
        assert refused.value.needs == needs


async def the_first_fault_is_named(service: Service) -> None:
    app = await service.create_app("completion", says())
    await refused_by_name("user", service.ask(app, "", "u" * 256), service.conversations(app, "u" * 256, limit=0))


# How an answer ends


async def a_provider_that_fails_at_first(service: Service) -> None:
    app = await service.create_app("chat", says(fail_as="transient", fail_times=2))
    asked = await service.ask(app, "Is it so?")
    assert asked.text == "so it is"
    assert await service.task(app, asked.ids.task) == ("completed", 3, None)
    assert [event for event in await service.events(app, asked.ids.message) if event[0] == "GenerationRequeued"] == [
        ("GenerationRequeued", "worker")
    ] * 2


async def a_provider_that_fails_for_good(service: Service) -> None:
    for kind, code in (
        ("transient", "completion_request_error"),
        ("quota", "provider_quota_exceeded"),
        ("credentials", "provider_not_initialize"),
        ("invalid", "completion_request_error"),
        ("internal", "internal_server_error"),
    ):
        app = await service.create_app("chat", says(fail_as=kind))
        with pytest.raises(GenerationFailedError) as failed:
            await service.ask(app, "Is it so?")
        assert failed.value.code == code
        ids = await service.send(app, "Is it so, at last?")
        assert await service.follow(app, ids) == Streamed("", code)
        assert await service.task(app, ids.task) == ("errored", 3 if kind == "transient" else 1, code)


async def a_provider_that_fails_in_the_middle(service: Service) -> None:
    app = await service.create_app("chat", says(fail_as="transient", fail_after=2))
    ids = await service.send(app, "Is it so?")
    assert await service.follow(app, ids) == Streamed("so it ", "completion_request_error")
    assert await service.message(app, ids.message) == (Seen("Is it so?", "so it ", True, None), 0)


async def a_stop_in_the_middle(service: Service) -> None:
    app = await service.create_app("chat", says(interval_ms=3_600_000))
    ids = await service.send(app, "Is it so?")
    assert await service.first_text(app, ids) == "so "
    assert await service.task(app, ids.task) == ("running", 1, None)
    assert await service.message(app, ids.message) == (Seen("Is it so?", "so ", False, None), 0)
    await service.stop(app, ids, "eve")
    assert await service.task(app, ids.task) == ("running", 1, None)
    await service.stop(app, ids)
    assert await service.follow(app, ids) == Streamed("so ", "stopped")
    assert await service.task(app, ids.task) == ("stopped", 1, None)
    await service.stop(app, ids)
    assert (await service.history(app, ids.conversation))[0] == [Seen("Is it so?", "so ", False, None)]


async def a_stop_of_what_is_not_there(service: Service) -> None:
    app = await service.create_app("chat", says())
    asked = await service.ask(app, "Is it so?")
    await service.stop(app, asked.ids._replace(task=NOWHERE))
    await service.stop(app, asked.ids)
    assert await service.task(app, asked.ids.task) == ("completed", 1, None)


# Whose things are


async def what_is_not_there(service: Service) -> None:
    app = await service.create_app("chat", says())
    await nothing_is_found("task", service.task(app, NOWHERE))
    await nothing_is_found("message", service.message(app, NOWHERE), service.events(app, NOWHERE))
    await nothing_is_found("message", service.rate(app, NOWHERE, "like"), service.rate(app, NOWHERE, None))
    await nothing_is_found(
        "conversation", service.ask(app, "Is it so?", conversation=NOWHERE), service.history(app, NOWHERE)
    )
    await nothing_is_found("last_conversation", service.conversations(app, last=NOWHERE))
    asked = await service.ask(app, "Is it so?")
    await nothing_is_found("first_message", service.history(app, asked.ids.conversation, first=NOWHERE))


async def what_is_another_users(service: Service) -> None:
    app = await service.create_app("chat", says())
    ids = (await service.ask(app, "Is it so?")).ids
    await service.ask(app, "And for me?", "eve")
    await is_not_for(service, app, ids, "eve")
    await is_not_for(service, app, ids, "mallory")
    assert await service.message(app, ids.message) == (Seen("Is it so?", "so it is", False, None), 0)


async def what_is_another_apps(service: Service) -> None:
    app, other = await service.create_app("chat", says()), await service.create_app("chat", says())
    ids = (await service.ask(app, "Is it so?")).ids
    await is_not_for(service, other, ids, "ada")
    await is_not_for(service, other, ids, None)


async def is_not_for(service: Service, app: UUID, ids: Any, user: str | None) -> None:
    await nothing_is_found("task", service.task(app, ids.task, user))
    await nothing_is_found("message", service.message(app, ids.message, user), service.follow(app, ids, user))
    await nothing_is_found("message", service.events(app, ids.message, user))
    await nothing_is_found("message", service.rate(app, ids.message, "dislike", user=user or "ada"))
    await nothing_is_found("conversation", service.history(app, ids.conversation, user))
    await nothing_is_found("conversation", service.ask(app, "Mine?", user, conversation=ids.conversation))
    await nothing_is_found("last_conversation", service.conversations(app, user, last=ids.conversation))


async def who_names_no_user_acts_for_the_app(service: Service) -> None:
    app = await service.create_app("chat", says())
    ids = (await service.ask(app, "Is it so?")).ids
    assert (await service.message(app, ids.message, None))[0].answer == "so it is"
    assert (await service.history(app, ids.conversation, None))[0] == [Seen("Is it so?", "so it is", False, None)]
    assert await service.conversations(app, None) == ([], False)


async def who_names_no_user_shares_one(service: Service) -> None:
    app = await service.create_app("chat", says())
    first = await service.ask(app, "Is it so?", None)
    await service.ask(app, "Still?", None, conversation=first.ids.conversation)
    listed, _ = await service.conversations(app, None)
    assert [entry.id for entry in listed] == [first.ids.conversation]
    await nothing_is_found("conversation", service.history(app, first.ids.conversation, "ada"))


# Ratings


async def ratings(service: Service) -> None:
    app = await service.create_app("chat", says())
    first, second = [(await service.ask(app, query)).ids for query in ("One?", "Two?")]
    await refused_by_name("rating", service.rate(app, first.message, None))
    for rating, content, shown in (
        ("like", None, "like"),
        ("like", "very\0 good", "like"),
        ("dislike", "on second thought", "dislike"),
        (None, None, None),
        ("like", "", "like"),
    ):
        await service.rate(app, first.message, rating, content=content)
        assert (await service.message(app, first.message))[0].rating == shown
    await refused_by_name("rating", service.rate(app, first.message, "meh"))
    with pytest.raises(TooLongError) as refused:
        await service.rate(app, first.message, "like", content="x" * 100_001)
    assert refused.value.field == "content"
    await service.rate(app, second.message, "dislike", content="no")
    assert {(message, rating) for message, rating, _ in await service.feedbacks(app)} == {
        (first.message, "like"),
        (second.message, "dislike"),
    }
    assert [entry[1:] for entry in await service.feedbacks(app, limit=1)] == [("dislike", "no")]
    assert len(await service.feedbacks(app, page=2, limit=1)) == 1
    assert await service.feedbacks(app, page=3, limit=1) == []
    await refused_by_name("page", service.feedbacks(app, page=0))
    await refused_by_name("limit", service.feedbacks(app, limit=0), service.feedbacks(app, limit=102))


async def a_rating_while_the_answer_is_made(service: Service) -> None:
    app = await service.create_app("chat", says(interval_ms=3_600_000))
    ids = await service.send(app, "Is it so?")
    await service.first_text(app, ids)
    await service.rate(app, ids.message, "dislike", content="too slow")
    await service.stop(app, ids)
    assert await service.follow(app, ids) == Streamed("so ", "stopped")
    assert (await service.message(app, ids.message))[0].rating == "dislike"


# Lists


async def many_conversations(service: Service) -> None:
    app = await service.create_app("chat", says("yes"))
    made = [(await service.ask(app, f"Number {number}?")).ids.conversation for number in range(5)]
    await service.ask(app, "Once more?", conversation=made[1])
    by_update, by_creation = [made[number] for number in (1, 4, 3, 2, 0)], made[::-1]
    for sort_by, order in (
        ("-updated_at", by_update),
        ("updated_at", by_update[::-1]),
        ("-created_at", by_creation),
        ("created_at", by_creation[::-1]),
    ):
        found, last, has_more = [], None, True
        while has_more:
            part, has_more = await service.conversations(app, sort_by=sort_by, last=last, limit=2)
            found += [listed.id for listed in part]
            last = found[-1]
        assert found == order
    assert await service.conversations(app, "eve") == ([], False)
    assert len((await service.conversations(app, limit=100))[0]) == 5


# Conversations


async def a_conversation_is_named(service: Service) -> None:
    app = await service.create_app("chat", says())
    conversation = (await service.ask(app, "Is it so, as people say?")).ids.conversation
    assert await service.rename(app, conversation, " Mine\0 ") == Listed(conversation, "Mine")
    assert (await service.conversations(app))[0] == [Listed(conversation, "Mine")]
    assert (await service.rename(app, conversation, None)).name == "Is it so, as people say?"
    assert (await service.rename(app, conversation, None, user=None)).name == "Is it so, as people say?"
    await refused_by_name("name", service.rename(app, conversation, " "), service.rename(app, conversation, "\0"))
    with pytest.raises(TooLongError):
        await service.rename(app, conversation, "x" * 256)
    await nothing_is_found(
        "conversation", service.rename(app, NOWHERE, "Mine"), service.rename(app, conversation, "Mine", "eve")
    )


async def a_conversation_is_deleted(service: Service) -> None:
    app = await service.create_app("chat", says(interval_ms=3_600_000))
    ids = await service.send(app, "Is it so?")
    await service.first_text(app, ids)
    await nothing_is_found("conversation", service.delete(app, ids.conversation, "eve"))
    await service.delete(app, ids.conversation)
    await nothing_is_found(
        "conversation",
        service.delete(app, ids.conversation),
        service.history(app, ids.conversation),
        service.rename(app, ids.conversation, "Mine"),
        service.variables(app, ids.conversation),
        service.send(app, "And now?", conversation=ids.conversation),
    )
    await nothing_is_found("message", service.message(app, ids.message), service.regenerate(app, ids.message))
    assert await service.conversations(app) == ([], False)

    async def has_stopped() -> bool:
        return (await service.task(app, ids.task))[0] == "stopped"

    await until(has_stopped)
    await service.rate(app, ids.message, "like")


async def variables_of_a_conversation(service: Service) -> None:
    declared = (
        DeclaredVariable(name="mood", default="calm"),
        DeclaredVariable(name="count", value_type="number"),
        DeclaredVariable(name="tags", value_type="array[string]", default=["a"]),
    )
    app = await service.create_app("chat", msgspec.structs.replace(says(), conversation_variables=declared))
    conversation = (await service.ask(app, "Is it so?")).ids.conversation
    (mood, count, tags), has_more = await service.variables(app, conversation)
    assert ([mood.value, count.value, tags.value], has_more) == (["calm", "0", '["a"]'], False)
    assert await service.variables(app, conversation, limit=2) == ([mood, count], True)
    assert await service.variables(app, conversation, last=count.id, limit=2) == ([tags], False)
    assert await service.variables(app, conversation, name="MOOD") == ([mood], False)
    assert await service.set_variable(app, conversation, count.id, 5) == count._replace(value="5")
    await service.set_variable(app, conversation, count.id, 5)
    await service.set_variable(app, conversation, tags.id, [], user=None)
    assert [known.value for known in (await service.variables(app, conversation))[0]] == ["calm", "5", "[]"]
    with pytest.raises(TypeMismatchError) as refused:
        await service.set_variable(app, conversation, count.id, "5")
    assert str(refused.value) == "Type mismatch: variable 'count' expects number, but got string type"
    with pytest.raises(TooLongError):
        await service.set_variable(app, conversation, mood.id, "x" * 100_000)
    await nothing_is_found("conversation_variable", service.set_variable(app, conversation, NOWHERE, 5))
    await nothing_is_found("conversation", service.set_variable(app, conversation, mood.id, "x", "eve"))
    await refused_by_name("variable_name", service.variables(app, conversation, name="a b"))
    await refused_by_name("last_id", service.variables(app, conversation, last=NOWHERE))
    await refused_by_name("limit", service.variables(app, conversation, limit=0))


async def messages_grow_into_a_tree(service: Service) -> None:
    app = await service.create_app("chat", says())
    root = await service.ask(app, "Is it so?")
    here = root.ids.conversation
    await service.ask(app, "And in line?", conversation=here)
    beside = await service.ask(app, "And beside it?", conversation=here, parent=root.ids.message)
    assert (await service.message(app, beside.ids.message))[1] == 1
    again = await service.regenerate(app, beside.ids.message)
    assert await service.follow(app, again) == Streamed("so it is", "completed")
    assert (await service.message(app, again.message))[1] == 2
    owners = await service.regenerate(app, root.ids.message, user=None)
    assert await service.follow(app, owners) == Streamed("so it is", "completed")
    assert (await service.message(app, root.ids.message))[1] == 1
    await nothing_is_found(
        "message",
        service.ask(app, "Where?", conversation=here, parent=NOWHERE),
        service.ask(app, "Where?", parent=root.ids.message),
        service.regenerate(app, root.ids.message, "eve"),
    )


async def lists_that_cannot_be(service: Service) -> None:
    app = await service.create_app("chat", says("yes"))
    conversation = (await service.ask(app, "Is it so?")).ids.conversation
    for limit in (0, -1, 101):
        await refused_by_name(
            "limit", service.conversations(app, limit=limit), service.history(app, conversation, limit=limit)
        )
    await refused_by_name("sort_by", service.conversations(app, sort_by="name"))


# Apps


async def an_app_is_configured_anew(service: Service) -> None:
    app = await service.create_app("chat", says("before", interval_ms=0))
    ids = await service.send(app, "Is it so?")
    assert (await service.follow(app, ids)).text == "before"
    await service.configure(app, says("after"))
    await service.configure(app, says("after"))
    assert (await service.ask(app, "And now?", conversation=ids.conversation)).text == "after"
    await refused_by_name("generator", service.configure(app, AppConfiguration(generator="nobody")))
    await refused_by_name("settings", service.configure(app, says(pace=5)))
    twice = (InputVariable(variable="name"), InputVariable(variable="name"))
    await refused_by_name(
        "user_input_form", service.configure(app, AppConfiguration(generator="scripted", user_input_form=twice))
    )
    await nothing_is_found("app", service.configure(NOWHERE, says()))
    assert (await service.ask(app, "Still?")).text == "after"


async def a_key_is_rotated(service: Service) -> None:
    app = await service.create_app("chat", says())
    await service.rotate_key(app)
    assert (await service.ask(app, "Is it so?")).text == "so it is"


async def apps_that_answer_nobody(service: Service) -> None:
    app = await service.create_app("chat", says())
    asked = await service.ask(app, "Is it so?")
    for switched, reason in (("disable", "API service has been disabled"), ("delete", "no longer exists")):
        await service.switch_app(app, switched)
        for asking in (
            service.ask(app, "And now?"),
            service.history(app, asked.ids.conversation),
            service.rate(app, asked.ids.message, "like"),
        ):
            with pytest.raises(ForbiddenError, match=reason):
                await asking
        if switched == "disable":
            await service.switch_app(app, "enable")
            assert (await service.ask(app, "And now?")).text == "so it is"
    with pytest.raises(ForbiddenError, match="no longer exists"):
        await service.switch_app(app, "enable")


async def apps_that_cannot_be(service: Service) -> None:
    await service.create_app("chat", says())
    await refused_by_name("generator", service.create_app("chat", AppConfiguration(generator="nobody")))
    await refused_by_name("settings", service.create_app("chat", says(tokens=-1)))


async def a_question_with_settings_of_its_own(service: Service) -> None:
    app = await service.create_app("chat", AppConfiguration(generator="scripted", settings={"tokens": 5}))
    assert (await service.ask(app, "/script tokens=2 vary_by_attempt=true")).text == "a1t0 a1t1 "
    await refused_by_name("query", service.ask(app, "/script pace=2"))


# What models do beside the answers


async def a_conversation_that_names_itself(service: Service) -> None:
    app = await service.create_app("chat", says(title="What is so"))
    await service.ask(app, "Is it so, as people say?")
    await until(partial(is_the_only_name, service, app, "What is so"))


async def a_conversation_that_no_model_names(service: Service) -> None:
    app = await service.create_app("chat", says(text_fail_as="quota"))
    await service.ask(app, "Is it so, as people say?")
    await until(partial(is_the_only_name, service, app, "Is it so, as people say?"))


async def is_the_only_name(service: Service, app: UUID, name: str) -> bool:
    return [listed.name for listed in (await service.conversations(app))[0]] == [name]


async def questions_to_ask_next(service: Service) -> None:
    on = Switch(enabled=True)
    configuration = AppConfiguration(
        generator="scripted",
        settings={"text": "so it is", "suggestions": '["Why?", "How?"]'},
        suggested_questions_after_answer=on,
    )
    app = await service.create_app("chat", configuration)
    asked = (await service.ask(app, "Is it so?")).ids.message
    assert await service.suggest(app, asked) == ["Why?", "How?"]
    assert await service.suggest(app, asked, None) == ["Why?", "How?"]
    assert [name for name, _ in await service.events(app, asked)].count("SuggestedQuestionsProposed") == 1
    await nothing_is_found("message", service.suggest(app, asked, "eve"), service.suggest(app, NOWHERE))
    await service.configure(app, says())
    with pytest.raises(FeatureDisabledError):
        await service.suggest(app, asked)
    completing = await service.create_app("completion", says())
    with pytest.raises(WrongModeError) as refused:
        await service.suggest(completing, asked)
    assert refused.value.needs == "chat"


async def more_of_the_same(service: Service) -> None:
    configuration = AppConfiguration(
        generator="scripted", settings={"text": "a poem"}, more_like_this=Switch(enabled=True)
    )
    app = await service.create_app("completion", configuration)
    original = await service.complete(app, {}, "write a poem")
    for user in ("ada", None):
        ids = await service.more_like(app, original.ids.message, user)
        assert await service.follow(app, ids) == Streamed("a poem", "completed")
        assert (await service.message(app, ids.message))[0] == Seen("write a poem", "a poem", False, None)
    await nothing_is_found("message", service.more_like(app, original.ids.message, "eve"))
    await service.configure(app, says())
    with pytest.raises(FeatureDisabledError):
        await service.more_like(app, original.ids.message)
    chatting = await service.create_app("chat", says())
    with pytest.raises(WrongModeError) as refused:
        await service.more_like(chatting, original.ids.message)
    assert refused.value.needs == "completion"


# Answers that no model gives


async def what_may_not_be_said(service: Service) -> None:
    preset = ModerationOfStage(enabled=True, preset_response="No.")
    avoidance = WordAvoidance(enabled=True, keywords="secret\nso it", inputs_config=preset, outputs_config=preset)
    app = await service.create_app("chat", msgspec.structs.replace(says(), sensitive_word_avoidance=avoidance))
    refused = await service.ask(app, "a Secret?")
    assert (refused.text, refused.end, refused.tokens) == ("No.", "completed", 0)
    blocked = await service.ask(app, "Is it so?")
    assert (blocked.text, blocked.end) == ("No.", "stopped")
    assert (await service.message(app, blocked.ids.message))[0] == Seen("Is it so?", "No.", False, None)
    ids = await service.send(app, "Is it so?")
    assert await service.follow(app, ids) == Streamed("No.", "stopped")
    without = msgspec.structs.replace(avoidance, keywords=" ")
    await refused_by_name(
        "sensitive_word_avoidance.keywords",
        service.configure(app, msgspec.structs.replace(says(), sensitive_word_avoidance=without)),
    )


async def annotations_answer(service: Service) -> None:
    app = await service.create_app(
        "chat", msgspec.structs.replace(says(), annotation_reply=AnnotationReply(enabled=True))
    )
    open_hours = await service.annotate(app, "Open?", "From nine.")
    await service.annotate(app, "Bread?", "Rye.")
    answered = await service.ask(app, " OPEN? ")
    assert (answered.text, answered.end, answered.tokens) == ("From nine.", "completed", 0)
    assert await service.annotate(app, "Open?", "From ten.", open_hours) == open_hours
    assert (await service.ask(app, "open?")).text == "From ten."
    assert await service.annotations(app) == [("Bread?", "Rye.", 0), ("Open?", "From ten.", 2)]
    assert await service.annotations(app, "RYE") == [("Bread?", "Rye.", 0)]
    await service.remove_annotation(app, open_hours)
    assert (await service.ask(app, "open?")).text == "so it is"
    await nothing_is_found("annotation", service.remove_annotation(app, open_hours))
    await refused_by_name("question", service.annotate(app, " ", "x"))
    await refused_by_name("answer", service.annotate(app, "x", ""))


# Files


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100)


def stored(file: UUID, kind: Any = "image") -> FileReference:
    return FileReference(type=kind, transfer_method="local_file", upload_file_id=file)


async def files_go_with_a_message(service: Service) -> None:
    app = await service.create_app(
        "chat", msgspec.structs.replace(says(), file_upload=FileUpload(enabled=True, kinds=()))
    )
    picture, text = await service.upload(app, "a.png", PNG), await service.upload(app, "b.txt", b"words")
    linked = FileReference(type="image", transfer_method="remote_url", url="https://example.org/c.png")
    asked = await service.ask(app, "What is it?", files=[stored(picture), stored(text, "document"), linked])
    shown = [("image", "a.png", len(PNG)), ("document", "b.txt", 5), ("image", "c.png", None)]
    assert await service.files(app, asked.ids.message) == shown
    again = await service.regenerate(app, asked.ids.message)
    await service.follow(app, again)
    assert await service.files(app, again.message) == shown


async def files_that_may_not_go(service: Service) -> None:
    taking = FileUpload(enabled=True, kinds=("image",), number_limits=1)
    app = await service.create_app("chat", msgspec.structs.replace(says(), file_upload=taking))
    passing_over = await service.create_app("chat", says())
    picture, text = await service.upload(app, "a.png", PNG), await service.upload(app, "b.png", b"words")
    await refused_by_name(
        "files",
        service.ask(app, "What?", files=[stored(text)]),
        service.ask(app, "What?", files=[stored(text, "document")]),
        service.ask(app, "What?", files=[stored(picture), stored(picture)]),
        service.ask(app, "What?", files=[stored(NOWHERE)]),
        service.ask(app, "What?", "bob", files=[stored(picture)]),
    )
    await refused_by_name("file", service.upload(app, "a/b.png", PNG), service.upload(app, "b.exe", PNG))
    asked = await service.ask(passing_over, "What?", files=[stored(picture)])
    assert await service.files(passing_over, asked.ids.message) == []


async def several_senders_in_a_conversation(service: Service) -> None:
    app = await service.create_app("chat", says("one two three", interval_ms=3_600_000))
    first = await service.send(app, "One?")
    await service.first_text(app, first)
    send = partial(service.send, app, conversation=first.conversation)
    with pytest.raises(ConversationBusyError):
        await send("Now?", on_busy="reject")
    await refused_by_name("on_busy", send("Now?", on_busy="later"))
    queued = await send("Two?", on_busy="queue")
    assert await service.task(app, queued.task) == ("queued", 0, None)
    await service.stop(app, first)
    assert (await service.first_text(app, queued)).strip() == "one"
    last = await send("Three?", on_busy="interrupt")
    assert (await service.first_text(app, last)).strip() == "one"
    assert (await service.follow(app, queued)).end == "stopped"
    await service.stop(app, last)
    assert (await service.follow(app, last)).end == "stopped"
    assert [seen.query for seen in (await service.history(app, first.conversation))[0]] == ["One?", "Two?", "Three?"]


async def limits_of_an_app(service: Service) -> None:
    slow = says("one two three", interval_ms=3_600_000)
    app = await service.create_app(
        "chat", msgspec.structs.replace(slow, limits=Limits(concurrency=1, dedupe_window=60))
    )
    first = await service.send(app, "Is it so?")
    assert await service.send(app, "Is it so?") == first
    for asked in (service.send(app, "And now?"), service.send(app, "Is it so?", "bob")):
        with pytest.raises(TooManyRequestsError) as full:
            await asked
        assert full.value.ceiling == 1
    await service.first_text(app, first)
    await service.stop(app, first)
    assert (await service.follow(app, first)).end == "stopped"
    second = await service.send(app, "Is it so?")
    assert second.message != first.message
    await service.first_text(app, second)
    await service.stop(app, second)
    await service.follow(app, second)

    spent = await service.create_app("chat", msgspec.structs.replace(says(), limits=Limits(tokens_per_day=1)))
    await service.ask(spent, "Is it so?")
    with pytest.raises(QuotaUsedUpError) as used_up:
        await service.ask(spent, "And now?", "bob")
    assert 0 < used_up.value.retry_after <= 86_400


async def a_message_sent_again_under_its_key(service: Service) -> None:
    limits = Limits(tokens_per_day=3)
    app = await service.create_app("chat", msgspec.structs.replace(says(), limits=limits))
    first = await service.send(app, "Is it so?", idempotency_key="once")
    assert (await service.follow(app, first)).text == "so it is"
    assert await service.send(app, "Is it so?", idempotency_key="once") == first
    again = await service.ask(app, "Is it so?", idempotency_key="once")
    assert (again.ids, again.text) == (first, "so it is")
    with pytest.raises(QuotaUsedUpError):
        await service.send(app, "Is it so?", idempotency_key="twice")
    with pytest.raises(IdempotencyKeyReusedError):
        await service.ask(app, "And now?", idempotency_key="once")

    await service.configure(app, says())
    bobs = await service.send(app, "And now?", "bob", idempotency_key="once")
    assert bobs.message != first.message
    assert (await service.follow(app, bobs, "bob")).end == "completed"
    anew = await service.regenerate(app, first.message, idempotency_key="twice")
    assert (await service.follow(app, anew)).end == "completed"
    assert anew.message != first.message
    assert await service.regenerate(app, first.message, idempotency_key="twice") == anew
    await service.delete(app, first.conversation)
    with pytest.raises(IdempotencyKeyReusedError):
        await service.send(app, "Is it so?", idempotency_key="once")


SCENARIOS = (
    what_may_not_be_said,
    annotations_answer,
    limits_of_an_app,
    files_go_with_a_message,
    files_that_may_not_go,
    a_question_and_its_answer,
    an_answer_that_nobody_waits_for,
    an_agent_is_sent_to_as_a_chat_is,
    a_stream_can_be_followed_from_any_version_it_has,
    what_came_after_the_end_is_no_part_of_the_stream,
    a_conversation_can_be_followed_from_any_position,
    a_conversation_goes_on,
    a_completion,
    inputs_are_taken_as_the_app_declares_them,
    what_is_no_question,
    apps_of_the_wrong_kind,
    the_first_fault_is_named,
    a_provider_that_fails_at_first,
    a_provider_that_fails_for_good,
    a_provider_that_fails_in_the_middle,
    several_senders_in_a_conversation,
    a_stop_in_the_middle,
    a_stop_of_what_is_not_there,
    what_is_not_there,
    what_is_another_users,
    what_is_another_apps,
    who_names_no_user_acts_for_the_app,
    who_names_no_user_shares_one,
    ratings,
    a_rating_while_the_answer_is_made,
    many_conversations,
    lists_that_cannot_be,
    a_conversation_is_named,
    a_conversation_is_deleted,
    variables_of_a_conversation,
    messages_grow_into_a_tree,
    an_app_is_configured_anew,
    a_key_is_rotated,
    apps_that_answer_nobody,
    apps_that_cannot_be,
    a_question_with_settings_of_its_own,
    a_conversation_that_names_itself,
    a_conversation_that_no_model_names,
    questions_to_ask_next,
    more_of_the_same,
    a_message_sent_again_under_its_key,
)
