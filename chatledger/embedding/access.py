"""The use cases while they are open, and who calls them."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from chatledger.application.accepting import accept_id, accept_user, is_trace
from chatledger.application.application import Application
from chatledger.application.caller import Auditor, Caller, Reader
from chatledger.application.context import OPERATOR, Context
from chatledger.application.errors import ApplicationError, ClosedError, InvalidParameterError
from chatledger.application.queries.credentials import require_answering


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

    async def caller(self, app: UUID, user: str | None, trace: str | None = None) -> Caller:
        """An app, on behalf of a person or, with None, of nobody in particular.

        Raises:
            NotFoundError: there is no such app.
            ForbiddenError: the app is switched off, or gone.
            InvalidParameterError: an argument is not acceptable.
        """
        accept_id("app", app)
        if trace is not None and not is_trace(trace):
            raise InvalidParameterError("trace", "trace must be up to 128 letters, digits, hyphens and underscores")
        person = accept_user(user)
        if user is not None and person is None:
            # A name that was lost on the way must not open what is another's.
            raise InvalidParameterError("user", "user must not be empty")
        found = await self._application.directory.app(app)
        require_answering(found)
        return Caller(app=found, user=person, correlation_id=self._application.new_id(), trace=trace)

    async def person(self, app: UUID, user: str) -> Caller:
        """An app, on behalf of a person: for what only a person can do.

        Raises:
            NotFoundError: there is no such app.
            InvalidParameterError: an argument is not acceptable.
        """
        caller = await self.caller(app, user)
        if caller.user is None:
            raise InvalidParameterError("user", "user is required")
        return caller

    async def reader(self, app: UUID | None, user: str | None) -> Reader:
        """An app, within what is its own; without one the host itself, who may read everything.

        Raises:
            NotFoundError: there is no such app.
            InvalidParameterError: an argument is not acceptable.
        """
        if app is not None:
            return await self.caller(app, user)
        if user is not None:
            raise InvalidParameterError("app", "app is required where a user is named: each app has users of its own")
        return Auditor(operator_id=None, correlation_id=self._application.new_id())

    def host(self) -> Context:
        """The metadata of what the host itself does."""
        return Context(actor=OPERATOR, correlation_id=self._application.new_id())
