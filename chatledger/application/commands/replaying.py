"""Replaying what failed: another message asks the same in its place."""

from uuid import UUID

from chatledger.application.caller import Caller
from chatledger.application.commands.new_message import Sent
from chatledger.application.commands.repeating import Repeating
from chatledger.application.commands.sending import Sending
from chatledger.application.context import Context
from chatledger.application.errors import AlreadyReplayedError, NotFoundError
from chatledger.application.ledger.hand_ins import ReplayedBeforeError
from chatledger.application.ports.views import Views
from chatledger.application.queries.credentials import require_answering
from chatledger.application.queries.directory import AppDirectory


class Replaying:
    """The use case of operators. The answer comes in the background, within the limits of the app."""

    def __init__(self, views: Views, directory: AppDirectory, repeating: Repeating, sending: Sending) -> None:
        self._views = views
        self._directory = directory
        self._repeating = repeating
        self._sending = sending

    async def replay(self, message_id: UUID, context: Context, *, force: bool = False) -> Sent:
        """Send what a dead letter asked once more, beside it; with its follower closed.

        Args:
            message_id: of the dead letter.
            context: whose doing it is.
            force: whether to do so even while an earlier replay is unfinished, or after it was answered.

        Raises:
            NotFoundError: there is no such dead letter, or its conversation is gone.
            AlreadyReplayedError: an earlier replay is unfinished or was answered.
            ForbiddenError: the app answers nobody.
            AppUnavailableError: the generator that failed is not there any more.
            QuotaUsedUpError: the app's tokens of this day are used up.
            TooManyRequestsError: the app has as many messages under way as it may have.
            KeyDestroyedError: what was asked has been erased.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        letter = await self._views.message(message_id)
        if letter is None or letter.state != "errored":
            raise NotFoundError("dead_letter")
        app = await self._directory.app(letter.app_id)
        require_answering(app)
        caller = Caller(app=app, user=None, correlation_id=context.correlation_id, actor=context.actor)
        new = await self._repeating.replay(caller, message_id, force=force)
        try:
            sent = await self._sending.send(caller, new)
        except ReplayedBeforeError as before:
            raise AlreadyReplayedError("a replay of it is unfinished, or was answered") from before
        sent.follower.close()
        return sent
