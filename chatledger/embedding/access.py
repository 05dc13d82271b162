"""The use cases while they are open, and who calls them."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from chatledger.application.accepting import accept_id, accept_user, is_trace
from chatledger.application.application import Application
from chatledger.application.caller import Auditor, Caller, Reader
from chatledger.application.context import OPERATOR, Context
from chatledger.application.errors import ApplicationError, ClosedError, InvalidParameterError, NotFoundError
from chatledger.application.ports.views import AppView
from chatledger.application.queries.credentials import require_answering
from chatledger.embedding.values import User, Visitor


class Access:
    """What all parts of an embedded chatledger share."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.is_closed = False

    def close(self) -> None:
        """Let nothing new in."""
        self.is_closed = True

    @contextmanager
    def use(self) -> Iterator[Application]:
        """The use cases. What the closing makes fail is told as such.

        Raises:
            ClosedError: chatledger is closed, or was closed meanwhile.
        """
        if self.is_closed:
            raise ClosedError
        try:
            yield self._application
        except ApplicationError:
            raise
        except Exception as error:
            if self.is_closed:
                raise ClosedError from error
            raise

    async def caller(self, app: UUID, user: User | None, trace: str | None = None) -> Caller:
        """An app, on behalf of a person or, with None, of nobody in particular.

        Raises:
            NotFoundError: there is no such app, or it has no such visitor.
            ForbiddenError: the app is switched off, or gone.
            InvalidParameterError: an argument is not acceptable.
        """
        accept_id("app", app)
        if trace is not None and not is_trace(trace):
            raise InvalidParameterError("trace", "trace must be up to 128 letters, digits, hyphens and underscores")
        if isinstance(user, Visitor):
            return await self._visitor(app, accept_id("user", user.end_user_id), trace)
        person = accept_user(user)
        if user is not None and person is None:
            # A name that was lost on the way must not open what is another's.
            raise InvalidParameterError("user", "user must not be empty")
        return Caller(
            app=await self._answering(app), user=person, correlation_id=self._application.new_id(), trace=trace
        )

    async def _visitor(self, app: UUID, end_user_id: UUID, trace: str | None) -> Caller:
        found = await self._answering(app)
        if not await self._application.visiting.knows(found, end_user_id):
            raise NotFoundError("end_user")
        return Caller(
            app=found, user=str(end_user_id), correlation_id=self._application.new_id(), kind="browser", trace=trace
        )

    async def _answering(self, app: UUID) -> AppView:
        found = await self._application.directory.app(app)
        require_answering(found)
        return found

    async def person(self, app: UUID, user: User) -> Caller:
        """An app, on behalf of a person: for what only a person can do.

        Raises:
            NotFoundError: there is no such app.
            InvalidParameterError: an argument is not acceptable.
        """
        caller = await self.caller(app, user)
        if caller.user is None:
            raise InvalidParameterError("user", "user is required")
        return caller

    async def reader(self, app: UUID | None, user: User | None) -> Reader:
        """An app, within what is its own; without one the host itself, who may read everything.

        Raises:
            NotFoundError: there is no such app.
            InvalidParameterError: an argument is not acceptable.
        """
        if app is not None:
            return await self.caller(app, user)
        if user is not None:
            raise InvalidParameterError("app", "app is required where a user is named: each app has users of its own")
        return self.auditor()

    def auditor(self) -> Auditor:
        """The host itself, who may read everything."""
        return Auditor(operator_id=None, correlation_id=self._application.new_id())

    def host(self) -> Context:
        """The metadata of what the host itself does."""
        return Context(actor=OPERATOR, correlation_id=self._application.new_id())
