"""Who calls, and the one place that decides what is theirs."""

from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

import msgspec

from chatledger.application.context import Actor, Context
from chatledger.application.errors import Missing, NotFoundError, WrongModeError
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.keys import KeyDestroyedError, Keyring
from chatledger.application.ports.views import AppView, EndUserDetail, EndUserView, Views
from chatledger.domain.events import ErasureRequested
from chatledger.domain.values import EndUserKind

CACHED_END_USERS = 50_000


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """One request by one app's key.

    Attributes:
        user: the external id that the request names, or None where it names nobody.
        correlation_id: the request's own id.
        trace: what the caller wants it to be traced by.
        actor: whose doing it is, where it is neither a person's nor the app's: an operator's.
    """

    app: AppView
    user: str | None
    correlation_id: UUID
    kind: EndUserKind = "service-api"
    trace: str | None = None
    actor: Actor | None = None

    def context(self, end_user_id: UUID | None) -> Context:
        """The metadata of what this request records."""
        named = Actor("end_user", str(end_user_id)) if end_user_id else Actor("api_key", str(self.app.app_id))
        actor = self.actor or named
        return Context(actor=actor, correlation_id=self.correlation_id, app_id=self.app.app_id, trace=self.trace)

    def context_of_change(self, owner_id: UUID) -> Context:
        """The metadata of a change to something of a person's: their own doing where the request names them."""
        return self.context(None if self.user is None else owner_id)


class Auditor(msgspec.Struct, frozen=True, kw_only=True):
    """One request by somebody who may read everything.

    Attributes:
        operator_id: whose token it is, or None for whoever runs the process.
    """

    operator_id: UUID | None
    correlation_id: UUID


Reader = Caller | Auditor


def auditor_of(context: Context) -> Auditor:
    """The operator whose doing something is, as a reader."""
    operator_id = UUID(context.actor.id) if context.actor.kind == "operator" and context.actor.id else None
    return Auditor(operator_id=operator_id, correlation_id=context.correlation_id)


def require_chat(app: AppView) -> None:
    """Let only apps with conversations pass.

    Raises:
        WrongModeError: the app is of another kind.
    """
    if app.mode == "completion":
        raise WrongModeError("chat")


def require_completion(app: AppView) -> None:
    """Let only completion apps pass.

    Raises:
        WrongModeError: the app is of another kind.
    """
    if app.mode != "completion":
        raise WrongModeError("completion")


class EndUsers:
    """Finds people by the external id that a caller names. Who is to be erased is nobody from then on."""

    def __init__(self, views: Views, keyring: Keyring) -> None:
        self._views = views
        self._keyring = keyring
        self._known: OrderedDict[tuple[UUID, EndUserKind, str], EndUserView] = OrderedDict()
        self._erasures = 0

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events."""
        erased = {envelope.stream_id for envelope in envelopes if isinstance(envelope.body, ErasureRequested)}
        if erased:
            self._erasures += 1
            for place in [place for place, known in self._known.items() if known.end_user_id in erased]:
                del self._known[place]

    def lookup(self, app_id: UUID, kind: EndUserKind, external_id: str) -> str:
        """The keyed hash that stands for an external id in the read models."""
        return self._keyring.lookup(f"{app_id} {kind}", external_id)

    async def find(self, app_id: UUID, kind: EndUserKind, external_id: str) -> EndUserView | None:
        """The person, or None if the app has never seen them."""
        place = (app_id, kind, external_id)
        known = self._known.get(place)
        if known is None:
            erasures = self._erasures
            known = await self._views.end_user(app_id, kind, self.lookup(app_id, kind, external_id))
            # Who was looked up while somebody was to be erased may be they.
            if known is not None and erasures == self._erasures:
                self._known[place] = known
                if len(self._known) > CACHED_END_USERS:
                    self._known.popitem(last=False)
        return known

    async def named(self, app_id: UUID, kind: EndUserKind, external_id: str) -> UUID:
        """The id of the person.

        Raises:
            NotFoundError: the app has never seen them, or they are erased or about to be.
        """
        found = await self.find(app_id, kind, external_id)
        if found is None:
            raise NotFoundError("end_user")
        return found.end_user_id

    async def detail(self, caller: Caller, end_user_id: UUID) -> EndUserDetail:
        """One of the app's people, by their own id: of either kind.

        Raises:
            NotFoundError: the app has no such person.
            KeyDestroyedError: they are erased, or about to be.
        """
        found = await self._views.end_user_detail(end_user_id)
        if found is None and await self._views.is_erased_person(caller.app.app_id, end_user_id):
            raise KeyDestroyedError(str(end_user_id))
        if found is None or found.app_id != caller.app.app_id:
            raise NotFoundError("end_user")
        return found


class Ownership:
    """The owner check. Whoever fails it is told that the object does not exist."""

    def __init__(self, end_users: EndUsers, views: Views) -> None:
        self._end_users = end_users
        self._views = views

    async def require_conversation(self, caller: Reader, conversation_id: UUID) -> UUID:
        """Pass if the conversation exists and is the caller's; gives the end user whose it is.

        Raises:
            NotFoundError: it does not, or is not.
        """
        place = await self._views.conversation_place(conversation_id)
        if place is None:
            raise NotFoundError("conversation")
        await self.require(caller, "conversation", *place)
        return place[1]

    async def require_among(self, conversation_id: UUID, message_id: UUID) -> None:
        """Pass if the message is one of the conversation's.

        Raises:
            NotFoundError: it is not.
        """
        message = await self._views.message(message_id)
        if message is None or message.conversation_id != conversation_id:
            raise NotFoundError("message")

    async def require(self, caller: Reader, missing: Missing, app_id: UUID, end_user_id: UUID) -> None:
        """Pass if the object belongs to the caller's app and, where the caller names a user, to that user.

        An auditor passes always.

        Raises:
            NotFoundError: it does not.
        """
        if isinstance(caller, Auditor):
            return
        if app_id != caller.app.app_id:
            raise NotFoundError(missing)
        if caller.user is None:
            return
        person = await self._end_users.find(app_id, caller.kind, caller.user)
        if person is None or person.end_user_id != end_user_id:
            raise NotFoundError(missing)
