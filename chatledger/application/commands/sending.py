"""Sending a message: one commit, and an answer on its way."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from chatledger.application.accepting import accept_text
from chatledger.application.app_limits import AppLimits
from chatledger.application.caller import Caller, Ownership
from chatledger.application.commands.new_message import NewMessage, Repetition, Sent
from chatledger.application.context import Context
from chatledger.application.errors import (
    AppUnavailableError,
    ConversationBusyError,
    InvalidParameterError,
    NotFoundError,
    TooManyRequestsError,
)
from chatledger.application.files.attaching import Attaching
from chatledger.application.generation.small_texts import model_of
from chatledger.application.idempotency import IdempotencyKeys, KeyedRequest
from chatledger.application.ledger.hand_ins import (
    AlreadyRunningError,
    CeilingReachedError,
    KeyInUseError,
    NotIdleError,
    NotUniqueError,
    VersionConflictError,
)
from chatledger.application.ledger.ledger import MAX_TRIES, Ledger, Staged
from chatledger.application.people import People, Person
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.generator import Generator, SettingsError
from chatledger.application.ports.keys import KeyDestroyedError, NewKey
from chatledger.application.ports.storage import Guard, IdleGuard, ReplayGuard
from chatledger.application.ports.views import AppView, EndUserView
from chatledger.application.queries.following import Following
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import InvalidInputError
from chatledger.domain.events import MessageCreated
from chatledger.domain.inputs import accept_inputs, fill_in
from chatledger.domain.message import Message
from chatledger.domain.names import hint_of, line_of
from chatledger.domain.values import NIL_UUID, AttachedFile, OnBusy

PROMPT_VERSION = 1
"""How prompts are built from history; recorded with each message, raised when that changes."""

MOST_UNFINISHED: Mapping[OnBusy, int] = {"reject": 0, "queue": 100, "interrupt": 200}
"""How many messages of a conversation may be unfinished when one comes. Where no more may queue, one may interrupt."""


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be answered, and by what."""

    inputs: dict[str, Any]
    generator: str
    parameters: dict[str, Any]
    has_model: bool
    files: tuple[AttachedFile, ...] = ()


class _Place(msgspec.Struct, frozen=True):
    """The conversation: known already, or begun with this very message."""

    conversation_id: UUID
    key_id: UUID | None
    owner: Person
    expected: dict[UUID, int]
    staged: tuple[Staged[Conversation], ...] = ()
    new_keys: tuple[NewKey, ...] = ()


class Sending:
    """The use case of both send routes."""

    def __init__(
        self,
        ledger: Ledger,
        people: People,
        ownership: Ownership,
        attaching: Attaching,
        following: Following,
        generators: Mapping[str, Generator],
        new_id: IdFactory,
        *,
        longest_query: int,
        limits: AppLimits,
        keys: IdempotencyKeys,
    ) -> None:
        self._ledger = ledger
        self._people = people
        self._ownership = ownership
        self._attaching = attaching
        self._following = following
        self._generators = generators
        self._new_id = new_id
        self._longest_query = longest_query
        self._limits = limits
        self._keys = keys

    async def send(self, caller: Caller, new: NewMessage) -> Sent:
        """Commit the message; the follower in the answer is the caller's to close.

        A request that comes under the idempotency key of an earlier one gets the message of that, whatever has become
        of it. Where the app wants it, one without a key that repeats one which is being answered joins that.

        A message belongs to whom its conversation belongs to, also where the caller names nobody.

        Raises:
            IdempotencyKeyReusedError: the key is another request's, or its message is there no more.
            InvalidParameterError: the query, an input, a file or a setting is not acceptable.
            NotFoundError: the conversation is not the caller's, or has no such parent among its messages.
            AppUnavailableError: the app names a generator that this server does not have.
            QuotaUsedUpError: the app's tokens of this day are used up.
            TooManyRequestsError: the app has as many messages under way as it may have.
            ConversationBusyError: others of the conversation are unfinished, and it was not to be taken in beside them.
            KeyDestroyedError: the conversation, or what is to be repeated, has been erased, or is about to be; or the
                key store has not got the person's key.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        new = self._accept(caller.app, new)
        earlier = await self._earlier(caller, new)
        if earlier is not None:
            return earlier
        asked = self._repeated(new.repetition) if new.repetition else self._asked(caller.app, new)
        await self._limits.require_quota(caller.app)
        gone: KeyDestroyedError | None = None
        for _ in range(MAX_TRIES):
            try:
                return await self._commit(caller, new, asked)
            except AlreadyRunningError as repeated:
                running = await self._limits.running(repeated.guard)
                if running is not None:
                    return await self._join(running)
            except KeyInUseError:
                earlier = await self._earlier(caller, new)
                if earlier is not None:
                    return earlier
            except CeilingReachedError as full:
                raise TooManyRequestsError(full.guard.ceiling) from full
            except NotIdleError as busy:
                raise ConversationBusyError(busy.guard.most) from busy
            except (VersionConflictError, NotUniqueError):
                continue
            except KeyDestroyedError as error:
                # Who was to send it was erased meanwhile: with nothing of theirs in it, it is a new person's.
                if new.conversation_id is not None or new.repetition is not None:
                    raise
                gone = error
        raise gone or VersionConflictError(str(new.conversation_id))

    async def _earlier(self, caller: Caller, new: NewMessage) -> Sent | None:
        """The message of this very request, where it came before under its key."""
        if new.idempotency_key is None:
            return None
        person = await self._earlier_sender(caller, new)
        if person is None:
            return None
        keyed = await self._keyed(person, new)
        known = None if keyed is None else await self._keys.find(keyed)
        if known is None:
            return None
        return msgspec.structs.replace(await self._join(known.message_id), state=known.state, is_repeat=True)

    async def _earlier_sender(self, caller: Caller, new: NewMessage) -> Person | EndUserView | None:
        """Whose message it was if it came before, as far as can be told: their conversation may be gone."""
        if new.repetition is not None:
            return await self._people.known(new.repetition.owner_id)
        if new.conversation_id is None or caller.user is not None:
            return await self._people.find(caller)
        return await self._people.known(await self._ownership.require_conversation(caller, new.conversation_id))

    async def _keyed(self, person: Person | EndUserView, new: NewMessage) -> KeyedRequest | None:
        if new.idempotency_key is None:
            return None
        request = _request(new, new.inputs)
        return await self._keys.keyed(person.end_user_id, person.key_id, new.idempotency_key, request)

    async def _join(self, message_id: UUID) -> Sent:
        """Follow a message that is there already."""
        created = await self._ledger.first(message_id)
        if created is None or not isinstance(created.body, MessageCreated):
            raise TypeError("a message begins with MessageCreated")
        return Sent(
            message_id=message_id,
            task_id=created.body.task_id,
            conversation_id=created.body.conversation_id,
            created=created,
            follower=self._following.follow(message_id),
        )

    def _asked(self, app: AppView, new: NewMessage) -> _Asked:
        configuration = app.configuration
        try:
            inputs = accept_inputs(configuration.user_input_form, new.inputs)
        except InvalidInputError as error:
            raise InvalidParameterError(error.field, str(error)) from error
        generator = self._generator(configuration.generator)
        try:
            parameters = dict(generator.settings_for(new.query, configuration.settings))
            has_model = new.conversation_id is None and model_of(generator, parameters) is not None
        except SettingsError as error:
            raise InvalidParameterError("query", str(error)) from error
        return _Asked(inputs=inputs, generator=generator.name, parameters=parameters, has_model=has_model)

    def _repeated(self, repetition: Repetition) -> _Asked:
        original = repetition.original
        generator = self._generator(original.generator)
        return _Asked(
            inputs=original.inputs,
            generator=generator.name,
            parameters=repetition.parameters,
            has_model=False,
            files=original.files,
        )

    def _generator(self, name: str) -> Generator:
        generator = self._generators.get(name)
        if generator is None:
            raise AppUnavailableError
        return generator

    def _accept(self, app: AppView, new: NewMessage) -> NewMessage:
        """A chat needs a query. That of a completion is also the value of a variable ``query`` that is left out."""
        query, inputs = accept_text("query", new.query, self._longest_query), new.inputs
        if not isinstance(inputs, Mapping):
            raise InvalidParameterError("inputs", "inputs must be an object")
        if app.mode != "completion":
            if not query:
                raise InvalidParameterError("query", "query is required")
        elif new.conversation_id is not None:
            raise InvalidParameterError("conversation_id", "a completion belongs to no conversation")
        elif new.on_busy is not None:
            raise InvalidParameterError("on_busy", "on_busy is not for completions: none of them meets another")
        elif query and inputs.get("query") is None:
            inputs = {**inputs, "query": query}
        return msgspec.structs.replace(new, query=query, inputs=inputs)

    async def _commit(self, caller: Caller, new: NewMessage, asked: _Asked) -> Sent:
        place = None if new.conversation_id is None else await self._place(caller, new.conversation_id, new.parent_id)
        person = await self._person(caller, new.repetition) if place is None else place.owner
        if not new.repetition:
            asked = await self._with_files(caller.app, person.end_user_id, new, asked)
        if place is None:
            place = self._new_place(caller, person, new, asked)
        on_busy = new.on_busy or caller.app.configuration.on_busy
        keyed = await self._keyed(person, new)
        is_forced = new.repetition is not None and new.repetition.force
        joins = keyed is None and not is_forced
        fingerprint = await self._fingerprint(caller.app, person, new, asked) if joins else None
        # What was said before, another node may have answered a moment ago.
        context_cut = self._ledger.head_position if new.conversation_id is None else await self._ledger.latest()
        created = MessageCreated(
            conversation_id=place.conversation_id,
            parent_id=new.parent_id,
            app_id=caller.app.app_id,
            end_user_id=person.end_user_id,
            task_id=self._new_id(),
            mode=caller.app.mode,
            generator=asked.generator,
            prompt_version=PROMPT_VERSION,
            context_cut=context_cut,
            context_tokens=caller.app.configuration.limits.context_tokens,
            fingerprint=keyed.fingerprint if keyed else fingerprint,
            idempotency_key=keyed.key if keyed else None,
            on_busy=on_busy,
            on_disconnect=new.on_disconnect,
            replayed_from=new.repetition.replays if new.repetition else None,
            parameters=asked.parameters,
            inputs=asked.inputs,
            query=new.query,
            files=asked.files,
        )
        message = Staged(Message.create(self._new_id(), created), place.key_id)
        message_id = message.aggregate.id
        follower = self._following.follow(message_id)
        self._ledger.keep_hot(message)
        try:
            committed = await self._ledger.hand_in(
                *person.staged,
                *place.staged,
                message,
                context=await self._context(caller, person, new),
                expected=person.expected | place.expected,
                guards=(
                    *person.guards,
                    *self._keys.guards(keyed),
                    *_replay_guards(new.repetition),
                    *self._limits.guards(caller.app, person.end_user_id, fingerprint),
                    *_turn_guards(new.conversation_id, on_busy),
                ),
                new_keys=(*person.new_keys, *place.new_keys),
            )
        except BaseException:
            self._ledger.forget_hot(message_id)
            follower.close()
            raise
        return Sent(
            message_id=message_id,
            task_id=created.task_id,
            conversation_id=place.conversation_id,
            created=committed[-1],
            follower=follower,
            known=committed[-1:],
        )

    async def _context(self, caller: Caller, person: Person, new: NewMessage) -> Context:
        """Who names nobody speaks for the one whom all such callers share, and for nobody else."""
        if new.repetition is not None:
            context = caller.context_of_change(person.end_user_id)
            return msgspec.structs.replace(context, causation_id=new.repetition.event_id)
        if caller.user is not None or new.conversation_id is None:
            return caller.context(person.end_user_id)
        shared = await self._people.find(caller)
        is_theirs = shared is not None and shared.end_user_id == person.end_user_id
        return caller.context(person.end_user_id if is_theirs else None)

    async def _fingerprint(self, app: AppView, person: Person, new: NewMessage, asked: _Asked) -> str | None:
        declared = {name: new.inputs.get(name) for name in asked.inputs}
        return await self._limits.fingerprint(app, person.key_id, _request(new, declared))

    async def _with_files(self, app: AppView, end_user_id: UUID, new: NewMessage, asked: _Asked) -> _Asked:
        inputs, files = await self._attaching.attach(app, end_user_id, new.files, asked.inputs)
        return msgspec.structs.replace(asked, inputs=inputs, files=files)

    async def _person(self, caller: Caller, repetition: Repetition | None) -> Person:
        if repetition is None:
            return await self._people.meet(caller)
        return await self._people.known(repetition.owner_id)

    async def _place(self, caller: Caller, conversation_id: UUID, parent_id: UUID | None) -> _Place:
        # The version first: if the conversation is deleted after the look at its row, the commit conflicts.
        head = await self._ledger.stream_head(conversation_id)
        if head is None:
            raise NotFoundError("conversation")
        owner_id = await self._ownership.require_conversation(caller, conversation_id)
        if parent_id is not None and parent_id != NIL_UUID:
            await self._ownership.require_among(conversation_id, parent_id)
        owner = await self._people.known(owner_id)
        return _Place(conversation_id, head.key_id, owner, {conversation_id: head.version})

    def _new_place(self, caller: Caller, person: Person, new: NewMessage, asked: _Asked) -> _Place:
        if new.parent_id not in {None, NIL_UUID}:
            raise NotFoundError("message")
        app = caller.app
        is_hidden = app.mode == "completion"
        gets_name = new.automatic_name and not is_hidden
        key = self._ledger.keyring.new_key(person.key_id)
        conversation = Conversation.start(
            self._new_id(),
            app_id=app.app_id,
            end_user_id=person.end_user_id,
            hidden=is_hidden,
            automatic_name=gets_name and asked.has_model,
            name=line_of(new.query) if gets_name and not asked.has_model else hint_of(new.query),
            inputs=asked.inputs,
            introduction=fill_in(app.configuration.opening_statement, asked.inputs),
        )
        if app.mode != "completion":
            for declared in app.configuration.conversation_variables:
                conversation.declare_variable(self._new_id(), declared)
        return _Place(conversation.id, key.key_id, person, {}, (Staged(conversation, key.key_id),), (key,))


def _request(new: NewMessage, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two requests equal: all that was asked, with these inputs, as it was given."""
    fields = msgspec.structs.asdict(new) | {"inputs": inputs}
    for way in ("automatic_name", "idempotency_key", "on_busy", "on_disconnect"):
        del fields[way]
    fields["repetition"] = new.repetition and new.repetition.event_id
    return fields


def _replay_guards(repetition: Repetition | None) -> tuple[Guard, ...]:
    if repetition is None or repetition.replays is None or repetition.force:
        return ()
    return (ReplayGuard(repetition.replays),)


def _turn_guards(conversation_id: UUID | None, on_busy: OnBusy) -> tuple[Guard, ...]:
    most = MOST_UNFINISHED.get(on_busy)
    return () if conversation_id is None or most is None else (IdleGuard(conversation_id, most),)
