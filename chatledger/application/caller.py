"""Who calls, and the one place that decides what is theirs."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import msgspec

from chatledger.application.context import Actor, Context
from chatledger.application.errors import Missing, NotFoundError, WrongModeError
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.keys import KeyDestroyedError, Keyring
from chatledger.application.ports.views import AppView, EndUserDetail, EndUserView, Views
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
    """Finds people by the external id that a caller names, or by their own. Who is to be erased is nobody from then on.

    Those whom it knows stand at their last version, as far as commits of this process have moved them.
    """

    def __init__(self, views: Views, keyring: Keyring) -> None:
        self._views = views
        self._keyring = keyring
        self._known: OrderedDict[tuple[UUID, EndUserKind, str] | UUID, EndUserView] = OrderedDict()
        self._moves = 0

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events."""
        moved = {each.stream_id for each in envelopes if each.category == "end_user" and each.version > 1}
        if moved:
            self._moves += 1
            for place in [place for place, known in self._known.items() if known.end_user_id in moved]:
                del self._known[place]

    def forget(self) -> None:
        """Ask anew for everybody: the read models have been replaced."""
        self._moves += 1
        self._known.clear()

    def lookup(self, app_id: UUID, kind: EndUserKind, external_id: str) -> str:
        """The keyed hash that stands for an external id in the read models."""
        return self._keyring.lookup(f"{app_id} {kind}", external_id)

    async def find(self, app_id: UUID, kind: EndUserKind, external_id: str) -> EndUserView | None:
        """The person, or None if the app has never seen them."""

        def look_up() -> Awaitable[EndUserView | None]:
            return self._views.end_user(app_id, kind, self.lookup(app_id, kind, external_id))

        return await self._remembered((app_id, kind, external_id), look_up)

    async def known(self, end_user_id: UUID) -> EndUserView:
        """The person of this id of ours, whichever app's.

        Raises:
            KeyDestroyedError: they are erased, or about to be.
        """
        known = await self._remembered(end_user_id, lambda: self._views.end_user_of_id(end_user_id))
        if known is None:
            raise KeyDestroyedError(str(end_user_id))
        return known

    async def _remembered(
        self, place: tuple[UUID, EndUserKind, str] | UUID, look_up: Callable[[], Awaitable[EndUserView | None]]
    ) -> EndUserView | None:
        known = self._known.get(place)
        if known is None:
            moves = self._moves
            known = await look_up()
            # Who was looked up while somebody's stream moved may be they.
            if known is not None and moves == self._moves:
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

    async def named_or_own(self, app_id: UUID, kind: EndUserKind, name: str) -> UUID:
        """The id of the person, by what the app calls them or by that id itself, which outlives their erasure.

        Raises:
            NotFoundError: there is no such person.
        """
        found = await self.find(app_id, kind, name)
        if found is not None:
            return found.end_user_id
        try:
            own_id = UUID(name)
        except ValueError:
            raise NotFoundError("end_user") from None
        if not await self._views.is_person_of(app_id, own_id):
            raise NotFoundError("end_user")
        return own_id

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
