"""The queries on the read models. Sealed columns are opened in the reading thread."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from chatledger.adapters.persistence.store import Reader
from chatledger.adapters.persistence.tables import (
    API_KEYS,
    APPS,
    CONVERSATION_VARIABLES,
    CONVERSATIONS,
    END_USERS,
    FEEDBACKS,
    FILES,
    LEASES,
    MESSAGES,
    OPERATOR_TOKENS,
    SITE_CODES,
    TOKEN_USAGE,
)
from chatledger.application.ledger.sealed_rows import (
    Answer,
    AppConfigurationContent,
    AppName,
    ConversationContent,
    ConversationName,
    EndUserContent,
    FeedbackContent,
    FileContent,
    Question,
    RowSeals,
    Suggestions,
    VariableContent,
)
from chatledger.application.ports.generator import Exchange
from chatledger.application.ports.views import (
    AppView,
    ConversationOrder,
    ConversationView,
    EndUserDetail,
    EndUserView,
    FeedbackView,
    FileView,
    MessageView,
    OperatorView,
    Page,
    Period,
    UnfinishedTask,
    VariableView,
)
from chatledger.domain.branch import Link, branch
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.context_window import estimated_tokens, within
from chatledger.domain.values import NIL_UUID, EndUserKind, Usage

_OWN_FEEDBACK = sa.and_(FEEDBACKS.c.message_id == MESSAGES.c.message_id, FEEDBACKS.c.source == "user")
_MESSAGES = sa.select(
    MESSAGES, FEEDBACKS.c.rating.label("rating"), FEEDBACKS.c.content.label("feedback_content")
).select_from(MESSAGES.outerjoin(FEEDBACKS, _OWN_FEEDBACK))
_PART = 50
"""How many messages of a branch are read at once."""

_LIVING_LEASE = LEASES.c.message_id == MESSAGES.c.message_id
_TASK = (
    MESSAGES.c.task_id,
    MESSAGES.c.message_id,
    MESSAGES.c.conversation_id,
    MESSAGES.c.mode,
    MESSAGES.c.state,
    MESSAGES.c.attempt,
)


class SqlViews:
    """The read models on SQL. Every list is one index range: a page costs the same in a store of any size."""

    def __init__(self, reader: Reader, seals: RowSeals) -> None:
        self._reader = reader
        self._seals = seals

    # Apps and operators

    async def app(self, app_id: UUID) -> AppView | None:
        """One app."""
        query = sa.select(APPS).where(APPS.c.app_id == app_id)
        return await self._reader.query(lambda c: self._first_app(c.execute(query).first()))

    async def apps(self) -> list[AppView]:
        """All apps, oldest first."""
        query = sa.select(APPS).order_by(APPS.c.position)
        return await self._reader.query(lambda c: [self._app(row) for row in c.execute(query)])

    async def app_of_key(self, key_hash: str) -> UUID | None:
        """The app that a key opens."""
        query = sa.select(API_KEYS.c.app_id).where(API_KEYS.c.key_hash == key_hash)
        return await self._reader.query(lambda c: c.execute(query).scalar())

    async def app_of_site(self, code: str) -> UUID | None:
        """The app whose site has this code, or once had it."""
        query = sa.select(SITE_CODES.c.app_id).where(SITE_CODES.c.code == code)
        return await self._reader.query(lambda c: c.execute(query).scalar())

    async def operator_of_token(self, token_hash: str) -> OperatorView | None:
        """What an operator's token opens."""
        query = sa.select(OPERATOR_TOKENS).where(OPERATOR_TOKENS.c.token_hash == token_hash)
        row = await self._reader.query(lambda c: c.execute(query).first())
        return None if row is None else OperatorView(row.operator_id, frozenset(row.scopes.split(",")))

    def _first_app(self, row: Any) -> AppView | None:
        return None if row is None else self._app(row)

    def _app(self, row: Any) -> AppView:
        name = self._seals.open(row.key_id, AppName, row.name, row.app_id)
        content = self._seals.open(row.key_id, AppConfigurationContent, row.configuration, row.app_id)
        return AppView(
            app_id=row.app_id,
            mode=row.mode,
            name=name.name,
            key_id=row.key_id,
            created_at=row.created_at,
            status=row.status,
            site_code=row.site_code,
            configuration=msgspec.convert(content.configuration, AppConfiguration),
        )

    # People and conversations

    async def end_user(self, app_id: UUID, kind: EndUserKind, lookup: str) -> EndUserView | None:
        """The person with this keyed hash of an external id."""
        table = END_USERS.c
        query = sa.select(table.end_user_id, table.key_id).where(
            table.app_id == app_id, table.kind == kind, table.lookup == lookup
        )
        row = await self._reader.query(lambda c: c.execute(query).first())
        return None if row is None else EndUserView(row.end_user_id, row.key_id)

    async def end_user_detail(self, end_user_id: UUID) -> EndUserDetail | None:
        """A person by their own id."""
        query = sa.select(END_USERS).where(END_USERS.c.end_user_id == end_user_id)

        def read(connection: sa.Connection) -> EndUserDetail | None:
            row = connection.execute(query).first()
            return None if row is None else self._end_user(row)

        return await self._reader.query(read)

    def _end_user(self, row: Any) -> EndUserDetail:
        content = self._seals.open(row.key_id, EndUserContent, row.content, row.end_user_id)
        return EndUserDetail(
            end_user_id=row.end_user_id,
            app_id=row.app_id,
            kind=row.kind,
            external_id=content.external_id,
            is_anonymous=row.anonymous,
            created_at=row.created_at,
        )

    async def conversation_place(self, conversation_id: UUID) -> tuple[UUID, UUID] | None:
        """The app and the end user that a conversation belongs to."""
        table = CONVERSATIONS.c
        query = sa.select(table.app_id, table.end_user_id).where(
            table.conversation_id == conversation_id, sa.not_(table.hidden)
        )
        row = await self._reader.query(lambda c: c.execute(query).first())
        return None if row is None else (row.app_id, row.end_user_id)

    async def conversation(self, conversation_id: UUID) -> ConversationView | None:
        """One conversation that lists show."""
        table = CONVERSATIONS.c
        query = sa.select(CONVERSATIONS).where(table.conversation_id == conversation_id, sa.not_(table.hidden))

        def read(connection: sa.Connection) -> ConversationView | None:
            row = connection.execute(query).first()
            return None if row is None else self._conversation(row)

        return await self._reader.query(read)

    async def conversations(
        self, app_id: UUID, end_user_id: UUID, order: ConversationOrder, page: Page, *, pinned: bool | None = None
    ) -> tuple[list[ConversationView], bool] | None:
        """One page of a person's conversations, and whether more follow; None if ``page.beyond`` is not among them.

        ``pinned`` narrows it to those that are, or are not.
        """
        table = CONVERSATIONS.c
        place = table.created_position if order.endswith("created_at") else table.updated_position
        descending = order.startswith("-")
        own = sa.and_(table.end_user_id == end_user_id, table.app_id == app_id, sa.not_(table.hidden))

        def read(connection: sa.Connection) -> tuple[list[ConversationView], bool] | None:
            query = sa.select(CONVERSATIONS).where(own)
            if pinned is not None:
                query = query.where(table.is_pinned if pinned else sa.not_(table.is_pinned))
            if page.beyond is not None:
                cursor = sa.select(place).where(own, table.conversation_id == page.beyond)
                last = connection.execute(cursor).scalar()
                if last is None:
                    return None
                if page.left_at is not None:
                    last = page.left_at
                query = query.where(place < last if descending else place > last)
            query = query.order_by(place.desc() if descending else place).limit(page.limit + 1)
            rows = connection.execute(query).all()
            return [self._conversation(row) for row in rows[: page.limit]], len(rows) > page.limit

        return await self._reader.query(read)

    def _conversation(self, row: Any) -> ConversationView:
        name = self._seals.open(row.key_id, ConversationName, row.name, row.conversation_id)
        content = self._seals.open(row.key_id, ConversationContent, row.content, row.conversation_id)
        return ConversationView(
            conversation_id=row.conversation_id,
            app_id=row.app_id,
            end_user_id=row.end_user_id,
            name=name.name,
            inputs=content.inputs,
            introduction=content.introduction,
            created_at=row.created_at,
            updated_at=row.updated_at,
            updated_position=row.updated_position,
            is_pinned=row.is_pinned,
        )

    async def unnamed(self, limit: int) -> list[UUID]:
        """Conversations that are to get a name by themselves and have none yet, oldest first."""
        table = CONVERSATIONS.c
        query = (
            sa.select(table.conversation_id).where(table.is_to_be_named).order_by(table.created_position).limit(limit)
        )
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))

    async def variables(self, conversation_id: UUID) -> list[VariableView]:
        """All variables of a conversation, in the order of their declaration. An app declares them: they are few."""
        table = CONVERSATION_VARIABLES.c
        query = (
            sa.select(CONVERSATION_VARIABLES).where(table.conversation_id == conversation_id).order_by(table.position)
        )
        return await self._reader.query(lambda c: [self._variable(row) for row in c.execute(query)])

    async def variable(self, variable_id: UUID) -> VariableView | None:
        """One variable."""
        query = sa.select(CONVERSATION_VARIABLES).where(CONVERSATION_VARIABLES.c.variable_id == variable_id)

        def read(connection: sa.Connection) -> VariableView | None:
            row = connection.execute(query).first()
            return None if row is None else self._variable(row)

        return await self._reader.query(read)

    def _variable(self, row: Any) -> VariableView:
        content = self._seals.open(row.key_id, VariableContent, row.content, row.variable_id)
        return VariableView(
            variable_id=row.variable_id,
            conversation_id=row.conversation_id,
            name=content.name,
            value_type=row.value_type,
            value=content.value,
            description=content.description,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    # Messages

    async def first_message(self, conversation_id: UUID) -> UUID | None:
        """The message that a conversation began with."""
        table = MESSAGES.c
        query = (
            sa.select(table.message_id)
            .where(table.conversation_id == conversation_id)
            .order_by(table.position)
            .limit(1)
        )
        return await self._reader.query(lambda c: c.execute(query).scalar())

    async def suggestions(self, message_id: UUID) -> tuple[str, ...] | None:
        """The questions that a model would ask next after a message, or None where none was asked with success."""
        table = MESSAGES.c
        query = sa.select(table.key_id, table.suggestions).where(table.message_id == message_id)

        def read(connection: sa.Connection) -> tuple[str, ...] | None:
            row = connection.execute(query).first()
            if row is None or row.suggestions is None:
                return None
            return self._seals.open(row.key_id, Suggestions, row.suggestions, message_id).questions

        return await self._reader.query(read)

    async def message(self, message_id: UUID) -> MessageView | None:
        """One message."""
        return await self._one_message(MESSAGES.c.message_id == message_id)

    async def message_of_task(self, task_id: UUID) -> MessageView | None:
        """The message that a task generates."""
        return await self._one_message(MESSAGES.c.task_id == task_id)

    async def _one_message(self, condition: sa.ColumnElement[bool]) -> MessageView | None:
        def read(connection: sa.Connection) -> MessageView | None:
            row = connection.execute(_MESSAGES.where(condition)).first()
            return None if row is None else self._message(row)

        return await self._reader.query(read)

    async def running_request(self, end_user_id: UUID, fingerprint: str) -> UUID | None:
        """The newest message of a person that is unfinished and was asked for by a request with this fingerprint."""
        table = MESSAGES.c
        query = (
            sa.select(table.message_id)
            .where(table.fingerprint == fingerprint, table.end_user_id == end_user_id, table.ended_position.is_(None))
            .order_by(table.position.desc())
            .limit(1)
        )
        return await self._reader.query(lambda c: c.execute(query).scalar())

    async def tokens_used(self, app_id: UUID, day: int) -> int:
        """What the answers of an app have cost, in tokens, on a day counted from 1970-01-01 in UTC."""
        table = TOKEN_USAGE.c
        query = sa.select(table.tokens).where(table.app_id == app_id, table.day == day)
        return await self._reader.query(lambda c: c.execute(query).scalar()) or 0

    async def messages(self, conversation_id: UUID, page: Page) -> tuple[list[MessageView], bool] | None:
        """The latest messages before ``page.beyond``, oldest first, and whether older ones exist.

        None if ``page.beyond`` is not in the conversation.
        """
        table = MESSAGES.c

        def read(connection: sa.Connection) -> tuple[list[MessageView], bool] | None:
            query = _MESSAGES.where(table.conversation_id == conversation_id)
            if page.beyond is not None:
                cursor = sa.select(table.position).where(
                    table.message_id == page.beyond, table.conversation_id == conversation_id
                )
                first = connection.execute(cursor).scalar()
                if first is None:
                    return None
                query = query.where(table.position < first)
            rows = connection.execute(query.order_by(table.position.desc()).limit(page.limit + 1)).all()
            return [self._message(row) for row in reversed(rows[: page.limit])], len(rows) > page.limit

        return await self._reader.query(read)

    async def saved_messages(self, end_user_id: UUID, page: Page) -> tuple[list[MessageView], bool] | None:
        """A person's saved messages, the last saved first, and whether more follow.

        None if ``page.beyond`` is not among them.
        """
        table = MESSAGES.c
        saved = sa.and_(table.end_user_id == end_user_id, table.saved_position.is_not(None))

        def read(connection: sa.Connection) -> tuple[list[MessageView], bool] | None:
            query = _MESSAGES.where(saved)
            if page.beyond is not None:
                cursor = sa.select(table.saved_position).where(table.message_id == page.beyond, saved)
                last = connection.execute(cursor).scalar()
                if last is None:
                    return None
                query = query.where(table.saved_position < last)
            rows = connection.execute(query.order_by(table.saved_position.desc()).limit(page.limit + 1)).all()
            return [self._message(row) for row in rows[: page.limit]], len(rows) > page.limit

        return await self._reader.query(read)

    async def siblings(self, message: MessageView) -> list[UUID]:
        """The other messages that go on from the same one, or begin the conversation as it does, oldest first."""
        table = MESSAGES.c
        own = table.conversation_id == message.conversation_id
        places = sa.select(table.message_id, table.parent_id, table.position).where(own)

        def read(connection: sa.Connection) -> list[UUID]:
            parent_id = _parent(connection, message)
            after = 0 if parent_id is None else _position(connection, message.conversation_id, parent_id)
            children = connection.execute(places.where(table.is_branch, table.parent_id == parent_id)).all()
            next_in_time = places.where(table.position > after).order_by(table.position).limit(1)
            in_line = [row for row in connection.execute(next_in_time) if row.parent_id == NIL_UUID]
            # Sorted here: the databases would read the whole conversation to have them in order.
            found = sorted((*in_line, *children), key=lambda row: row.position)
            return [row.message_id for row in found if row.message_id != message.message_id]

        return await self._reader.query(read)

    async def parent(self, message: MessageView) -> UUID | None:
        """The message that this one goes on from; where its parent is the nil id, the one before it in time."""
        return await self._reader.query(lambda c: _parent(c, message))

    async def exchanges(
        self, conversation_id: UUID, parent_id: UUID | None, context_cut: int, *, longest: int, tokens: int
    ) -> Sequence[Exchange]:
        """The answered messages of a branch as they were at a ledger position, oldest first."""

        def read(connection: sa.Connection) -> list[Exchange]:
            def older(parent_id: UUID, before: int) -> list[Link]:
                return _older(connection, conversation_id, parent_id, before)

            ancestors = branch(parent_id, context_cut + 1, older, longest)
            said = self._said(connection, [ancestor.message_id for ancestor in ancestors], context_cut)
            return list(within(tokens, said))[::-1]

        return await self._reader.query(read)

    def _said(
        self, connection: sa.Connection, message_ids: Sequence[UUID], context_cut: int
    ) -> Iterator[tuple[Exchange, int]]:
        """Those of the messages that had ended with an answer, in their order, each with its tokens."""
        table = MESSAGES.c
        query = sa.select(table.message_id, table.key_id, table.question, table.answer).where(
            table.ended_position <= context_cut, table.enters_prompts
        )
        for first in range(0, len(message_ids), _PART):
            part = message_ids[first : first + _PART]
            rows = {row.message_id: row for row in connection.execute(query.where(table.message_id.in_(part)))}
            for message_id in part:
                if message_id in rows:
                    exchange = self._exchange(rows[message_id])
                    yield exchange, estimated_tokens(exchange.query) + estimated_tokens(exchange.answer)

    def _exchange(self, row: Any) -> Exchange:
        question = self._seals.open(row.key_id, Question, row.question, row.message_id)
        answer = self._seals.open(row.key_id, Answer, row.answer, row.message_id)
        return Exchange(question.query, answer.text)

    def _message(self, row: Any) -> MessageView:
        question = self._seals.open(row.key_id, Question, row.question, row.message_id)
        answer = Answer("", None, ())
        if row.answer is not None:
            answer = self._seals.open(row.key_id, Answer, row.answer, row.message_id)
        content = None
        if row.feedback_content is not None:
            feedback = self._seals.open(row.key_id, FeedbackContent, row.feedback_content, row.message_id, "user")
            content = feedback.content
        return MessageView(
            message_id=row.message_id,
            conversation_id=row.conversation_id,
            app_id=row.app_id,
            end_user_id=row.end_user_id,
            parent_id=row.parent_id,
            task_id=row.task_id,
            mode=row.mode,
            position=row.position,
            created_at=row.created_at,
            state=row.state,
            attempt=row.attempt,
            started_at=row.started_at,
            ended_at=row.ended_at,
            query=question.query,
            inputs=question.inputs,
            query_files=question.files,
            answer=answer.text,
            resources=answer.resources,
            thoughts=answer.thoughts,
            answer_files=answer.files,
            annotation_id=row.annotation_id,
            annotation_account=answer.account,
            usage=None if row.usage is None else msgspec.json.decode(row.usage, type=Usage),
            stopped_by=row.stopped_by,
            error_code=row.error_code,
            error=answer.error,
            feedback=row.rating,
            feedback_content=content,
        )

    # Files

    async def file(self, file_id: UUID) -> FileView | None:
        """One stored file."""
        query = sa.select(FILES).where(FILES.c.file_id == file_id)
        return await self._reader.query(lambda c: self._file(c.execute(query).first()))

    def _file(self, row: Any) -> FileView | None:
        if row is None:
            return None
        return FileView(
            file_id=row.file_id,
            app_id=row.app_id,
            end_user_id=row.end_user_id,
            key_id=row.key_id,
            kind=row.kind,
            belongs_to=row.belongs_to,
            name=self._seals.open(row.key_id, FileContent, row.content, row.file_id).name,
            mime_type=row.mime_type,
            size=row.size,
            created_at=row.created_at,
            is_referenced=row.is_referenced,
        )

    # Feedback

    async def feedbacks(
        self, app_id: UUID, period: Period, limit: int, *, offset: int = 0, beyond: int | None = None
    ) -> list[FeedbackView]:
        """The ratings of an app that were given in a period, newest first; with ``beyond`` those before a position."""
        table = FEEDBACKS.c
        query = sa.select(FEEDBACKS).where(table.app_id == app_id)
        if period.start is not None:
            query = query.where(table.created_at >= period.start)
        if period.end is not None:
            query = query.where(table.created_at < period.end)
        if beyond is not None:
            query = query.where(table.position < beyond)
        query = query.order_by(table.created_at.desc(), table.position.desc()).offset(offset).limit(limit)
        return await self._reader.query(lambda c: [self._feedback(row) for row in c.execute(query)])

    def _feedback(self, row: Any) -> FeedbackView:
        content = self._seals.open(row.key_id, FeedbackContent, row.content, row.message_id, row.source)
        return FeedbackView(
            feedback_id=row.feedback_id,
            app_id=row.app_id,
            conversation_id=row.conversation_id,
            message_id=row.message_id,
            rating=row.rating,
            content=content.content,
            source=row.source,
            end_user_id=row.end_user_id,
            position=row.position,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    # Tasks

    async def unfinished_in(self, conversation_id: UUID) -> list[UUID]:
        """The messages of a conversation whose answers are under way."""
        table = MESSAGES.c
        query = sa.select(table.message_id).where(
            table.conversation_id == conversation_id, table.ended_position.is_(None)
        )
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))

    async def unclaimed(self, now: int, limit: int) -> list[UnfinishedTask]:
        """Tasks that are due and that no worker holds a living lease on, at this time in microseconds."""
        table = MESSAGES.c
        living = sa.exists().where(_LIVING_LEASE, LEASES.c.expires_at > now)
        due = sa.or_(table.not_before.is_(None), table.not_before <= now)
        query = (
            sa.select(*_TASK)
            .where(table.ended_position.is_(None), due, sa.not_(living))
            .order_by(table.position)
            .limit(limit)
        )
        return await self._reader.query(lambda c: [_task(row) for row in c.execute(query)])

    async def held_by(self, worker: str) -> list[UnfinishedTask]:
        """Unfinished tasks that this worker holds a lease on."""
        query = (
            sa.select(*_TASK)
            .select_from(MESSAGES.join(LEASES, _LIVING_LEASE))
            .where(LEASES.c.worker == worker, MESSAGES.c.ended_position.is_(None))
        )
        return await self._reader.query(lambda c: [_task(row) for row in c.execute(query)])


def _older(connection: sa.Connection, conversation_id: UUID, parent_id: UUID, before: int) -> list[Link]:
    """A part of a conversation, newest first, that begins with a message or, for the nil id, before a position."""
    table = MESSAGES.c
    query = sa.select(table.message_id, table.parent_id, table.position).where(table.conversation_id == conversation_id)
    if parent_id == NIL_UUID:
        query = query.where(table.position < before)
    else:
        query = query.where(table.position <= _position(connection, conversation_id, parent_id))
    rows = connection.execute(query.order_by(table.position.desc()).limit(_PART))
    return [Link(row.message_id, row.parent_id, row.position) for row in rows]


def _position(connection: sa.Connection, conversation_id: UUID, message_id: UUID) -> int:
    """Of a message of the conversation; 0 where there is none."""
    table = MESSAGES.c
    query = sa.select(table.position).where(table.message_id == message_id, table.conversation_id == conversation_id)
    position: int | None = connection.execute(query).scalar()
    return position or 0


def _parent(connection: sa.Connection, message: MessageView) -> UUID | None:
    if message.parent_id != NIL_UUID:
        return message.parent_id
    before = _older(connection, message.conversation_id, NIL_UUID, message.position)
    return before[0].message_id if before else None


def _task(row: Any) -> UnfinishedTask:
    return UnfinishedTask(
        task_id=row.task_id,
        message_id=row.message_id,
        conversation_id=row.conversation_id,
        mode=row.mode,
        state=row.state,
        attempt=row.attempt,
    )
