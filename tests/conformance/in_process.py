"""The service as a host has it that embeds chatledger."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import chatledger
from chatledger import (
    AnswerChunkAppended,
    AnswerReplaced,
    Chatledger,
    MessageCompleted,
    MessageErrored,
    MessageStopped,
    NotFoundError,
    Settings,
)
from chatledger.domain.inputs import input_text
from chatledger.domain.values import NIL_UUID
from tests.conformance.service import Ids, Listed, Seen, Streamed, Told, Variable, Whole


class EmbeddedService:
    def __init__(self, ledger: Chatledger) -> None:
        self._ledger = ledger

    async def create_app(self, mode, configuration):
        return (await self._ledger.apps.create(mode, "An app", configuration)).app_id

    async def configure(self, app, configuration):
        await self._ledger.apps.configure(app, configuration)

    async def annotate(self, app, question, answer, annotation=None):
        if annotation is None:
            return (await self._ledger.annotations.add(app, question, answer)).annotation_id
        return (await self._ledger.annotations.change(app, annotation, question, answer)).annotation_id

    async def remove_annotation(self, app, annotation):
        await self._ledger.annotations.remove(app, annotation)

    async def annotations(self, app, keyword=""):
        page = await self._ledger.annotations.list(app, keyword=keyword)
        return [(view.question, view.answer, view.hit_count) for view in page.annotations]

    async def rotate_key(self, app):
        await self._ledger.apps.rotate_key(app)

    async def switch_app(self, app, to):
        await getattr(self._ledger.apps, to)(app)

    async def send(self, app, query, user="ada", *, conversation=None, **more):
        sent = await self._ledger.messages.send(app, query, user=user, conversation_id=conversation, **more)
        return Ids(sent.message_id, sent.task_id, sent.conversation_id)

    async def ask(self, app, query, user="ada", *, conversation=None, parent=NIL_UUID, **more):
        place = {"conversation_id": conversation, "parent_id": parent}
        return _whole(await self._ledger.messages.ask(app, query, user=user, **place, **more))

    async def upload(self, app, name, content, user="ada"):
        return (await self._ledger.files.upload(app, name, content, user=user)).file_id

    async def files(self, app, message, user="ada"):
        view = (await self._ledger.messages.get(message, app=app, user=user)).message
        return [(file.kind, file.name, file.size) for file in (*view.query_files, *view.answer_files)]

    async def regenerate(self, app, message, user="ada", **more):
        sent = await self._ledger.messages.regenerate(app, message, user=user, **more)
        return Ids(sent.message_id, sent.task_id, sent.conversation_id)

    async def complete(self, app, inputs, query="", user="ada"):
        return _whole(await self._ledger.completions.ask(app, inputs=inputs, query=query, user=user))

    async def more_like(self, app, message, user="ada"):
        sent = await self._ledger.completions.send_more_like(app, message, user=user)
        return Ids(sent.message_id, sent.task_id, sent.conversation_id)

    async def suggest(self, app, message, user="ada"):
        return list(await self._ledger.messages.suggest(app, message, user=user))

    async def follow(self, app, ids, user="ada", *, after=0):
        text, attempt = "", 0
        async for event in self._ledger.messages.follow(ids.message, after=after, app=app, user=user):
            match event.body:
                case AnswerChunkAppended(attempt=newest, text=more):
                    text = text + more if newest == attempt else more
                    attempt = newest
                case AnswerReplaced(text=other):
                    text = other
                case MessageErrored(code=code):
                    return Streamed(text, code)
                case MessageStopped():
                    return Streamed(text, "stopped")
        return Streamed(text, "completed")

    async def versions(self, app, ids, *, after):
        return [event.version async for event in self._ledger.messages.follow(ids.message, after=after, app=app)]

    async def told(self, app, conversation, ends, user="ada", *, after=0):
        texts, told = {}, []
        following = self._ledger.conversations.follow(conversation, after=after, app=app, user=user)
        async with aclosing(following) as events:
            async for event in events:
                match event.body:
                    case AnswerChunkAppended(text=text):
                        texts[event.stream_id] = texts.get(event.stream_id, "") + text
                    case MessageCompleted():
                        told.append(Told(event.stream_id, texts.get(event.stream_id, ""), event.position))
                if len(told) == ends:
                    return told
        raise AssertionError("the stream ended")

    async def first_text(self, app, ids):
        async with aclosing(self._ledger.messages.follow(ids.message, app=app, user="ada")) as events:
            async for event in events:
                if isinstance(event.body, AnswerChunkAppended):
                    return event.body.text
        raise AssertionError("the answer ended without text")

    async def stop(self, app, ids, user="ada"):
        # Over HTTP nobody learns whether there was anything to stop.
        with suppress(NotFoundError):
            await self._ledger.tasks.stop(app, ids.task, user=user)

    async def task(self, app, task, user="ada"):
        found = await self._ledger.tasks.get(task, app=app, user=user)
        return found.state, found.attempt, found.error_code

    async def message(self, app, message, user="ada"):
        detail = await self._ledger.messages.get(message, app=app, user=user)
        return _seen(detail.message), len(detail.siblings)

    async def events(self, app, message, user="ada"):
        found, has_more = [], True
        while has_more:
            after = len(found)
            page = await self._ledger.messages.events(message, after=after, limit=2, app=app, user=user)
            found += [(type(fact.envelope.body).__name__, fact.context.actor.kind) for fact in page.items]
            has_more = page.has_more
        return found

    async def history(self, app, conversation, user="ada", *, first=None, limit=20):
        page = await self._ledger.messages.history(app, conversation, user=user, first_id=first, limit=limit)
        return [_seen(view) for view in page.items], page.has_more

    async def conversations(self, app, user="ada", *, sort_by="-updated_at", last=None, limit=20):
        page = await self._ledger.conversations.list(app, user=user, sort_by=sort_by, last_id=last, limit=limit)
        return [Listed(view.conversation_id, view.name) for view in page.items], page.has_more

    async def rename(self, app, conversation, name, user="ada"):
        view = await self._ledger.conversations.rename(app, conversation, name, user=user)
        return Listed(view.conversation_id, view.name)

    async def delete(self, app, conversation, user="ada"):
        await self._ledger.conversations.delete(app, conversation, user=user)

    async def variables(self, app, conversation, user="ada", *, name=None, last=None, limit=20):
        page = await self._ledger.conversations.variables(
            app, conversation, user=user, name=name, last_id=last, limit=limit
        )
        return [_variable(view) for view in page.items], page.has_more

    async def set_variable(self, app, conversation, variable, value, user="ada"):
        return _variable(await self._ledger.conversations.set_variable(app, conversation, variable, value, user=user))

    async def rate(self, app, message, rating, *, content=None, user="ada"):
        if rating is None:
            await self._ledger.messages.withdraw_rating(app, message, user=user)
        else:
            await self._ledger.messages.rate(app, message, rating, content=content, user=user)

    async def feedbacks(self, app, *, page=1, limit=20):
        found = await self._ledger.apps.feedbacks(app, page=page, limit=limit)
        return [(view.message_id, view.rating, view.content) for view in found]


def _whole(answer: chatledger.Answer) -> Whole:
    ids = Ids(answer.message_id, answer.task_id, answer.conversation_id)
    end = "stopped" if isinstance(answer.end, MessageStopped) else "completed"
    return Whole(ids, answer.text, end, answer.end.usage.completion_tokens)


def _variable(view: chatledger.VariableView) -> Variable:
    return Variable(view.variable_id, view.name, input_text(view.value))


def _seen(view: chatledger.MessageView) -> Seen:
    return Seen(view.query, view.answer, view.state == "errored", view.feedback)


@asynccontextmanager
async def embedded_service(settings: dict[str, Any]) -> AsyncIterator[EmbeddedService]:
    async with Chatledger.open(Settings(**settings)) as ledger:
        yield EmbeddedService(ledger)
