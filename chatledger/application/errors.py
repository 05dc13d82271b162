"""What the use cases refuse. Adapters translate; nobody else decides."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from chatledger.application.ports.rate_limiter import Allowance
from chatledger.domain.values import ErrorCode

Missing = Literal[
    "conversation",
    "conversation_variable",
    "message",
    "first_message",
    "last_conversation",
    "task",
    "app",
    "file",
    "site",
    "annotation",
    "end_user",
    "dead_letter",
    "erasure",
    "hold",
    "operator",
    "checkpoint",
    "webhook",
]

Feature = Literal["suggested_questions_after_answer", "more_like_this"]


class ApplicationError(Exception):
    """A use case refused; nothing is half-written."""


class NotFoundError(ApplicationError):
    """The object does not exist, or belongs to somebody else: on purpose nobody can tell which."""

    def __init__(self, missing: Missing) -> None:
        super().__init__(missing)
        self.missing: Missing = missing


class InvalidParameterError(ApplicationError):
    """A value is not acceptable.

    Attributes:
        field: the name of the first offending field.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class TooLongError(InvalidParameterError):
    """A text has more characters than may be."""


class TypeMismatchError(ApplicationError):
    """A conversation's variable cannot hold a value of that type; the text says which it can."""


class WrongModeError(ApplicationError):
    """The app's mode does not have this operation.

    Attributes:
        needs: what kind of app has it.
        is_feature: it is a feature that such an app may switch on, not a part of what such an app is.
    """

    def __init__(self, needs: Literal["chat", "completion"], *, is_feature: bool = False) -> None:
        super().__init__(needs)
        self.needs: Literal["chat", "completion"] = needs
        self.is_feature = is_feature


class SearchDisabledError(ApplicationError):
    """The server keeps no search index."""


class FeatureDisabledError(ApplicationError):
    """The app's configuration does not switch the feature on."""

    def __init__(self, feature: Feature) -> None:
        super().__init__(feature)
        self.feature: Feature = feature


class SpeechToTextDisabledError(ApplicationError):
    """The app's configuration does not let it listen."""


class SpeechToTextUnsupportedError(ApplicationError):
    """The server has nobody to listen."""


class UnsupportedAudioError(ApplicationError):
    """The bytes are no audio of a kind that is understood."""


class AppUnavailableError(ApplicationError):
    """The app's configuration names a generator that this server does not have."""


class UnauthorizedError(ApplicationError):
    """The credential opens nothing."""


APP_IS_GONE = "The app no longer exists."
APP_IS_DISABLED = "The app's API service has been disabled."


class ForbiddenError(ApplicationError):
    """The credential is good, but not for this."""


class FileTooLargeError(ApplicationError):
    """A file has more bytes than its kind may have."""


class FileAccessDeniedError(ApplicationError):
    """The file belongs to another app."""


class LinkRefusedError(FileAccessDeniedError):
    """A link to a file was not made here, was changed, or has ended."""


class TooManyRequestsError(ApplicationError):
    """The app has as many messages under way as it may have.

    Attributes:
        ceiling: how many those are.
    """

    def __init__(self, ceiling: int) -> None:
        super().__init__(f"{ceiling} messages are under way")
        self.ceiling = ceiling


class RateLimitedError(ApplicationError):
    """The caller asks more often than they may.

    Attributes:
        allowances: what is left of each limit.
    """

    def __init__(self, allowances: Sequence[Allowance]) -> None:
        super().__init__("asked too often")
        self.allowances = allowances


class ConversationBusyError(ApplicationError):
    """Messages of the conversation are unfinished, and the new one is not to be taken in beside so many.

    Attributes:
        most: how many there may be.
    """

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most} messages of the conversation are unfinished")
        self.most = most


class IdempotencyKeyReusedError(ApplicationError):
    """The key stands for another message; the text says why it cannot stand for this one."""


class AlreadyReplayedError(ApplicationError):
    """What failed is being asked again already, or has been answered since; the text is for whoever insists."""


class HeldError(ApplicationError):
    """A legal hold keeps a person from being erased."""


class RebuildRunningError(ApplicationError):
    """The read models are being made anew already."""


class NoSuccessorError(ApplicationError):
    """No master key can take the place of the present one; the text says what to do."""


class QuotaUsedUpError(ApplicationError):
    """The app's tokens of this day are used up.

    Attributes:
        retry_after: seconds until the next day begins.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__("the tokens of this day are used up")
        self.retry_after = retry_after


class SiteClosedError(ApplicationError):
    """The app's page is open to nobody, or not under this code; the text says which."""


class GenerationFailedError(ApplicationError):
    """The answer that a caller waited for ended as errored.

    Attributes:
        reason: what is on record as its cause, perhaps in a provider's words: sealed there, so not in the text.
        conversation_id: None for a completion.
    """

    def __init__(
        self, code: ErrorCode, reason: str, *, message_id: UUID, task_id: UUID, conversation_id: UUID | None
    ) -> None:
        super().__init__(code)
        self.code: ErrorCode = code
        self.reason = reason
        self.message_id = message_id
        self.task_id = task_id
        self.conversation_id = conversation_id


class AnswerPendingError(ApplicationError):
    """Nobody waits for the answer any longer: chatledger closes, or the store is in trouble.

    The message was taken in and will be answered all the same; to send it again without a key would double it.

    Attributes:
        conversation_id: None for a completion.
        is_keyed: whether it came with an idempotency key.
    """

    def __init__(self, message_id: UUID, task_id: UUID, conversation_id: UUID | None, *, is_keyed: bool) -> None:
        super().__init__(f"message {message_id} is not answered yet")
        self.is_keyed = is_keyed
        self.message_id = message_id
        self.task_id = task_id
        self.conversation_id = conversation_id


class LedgerInconsistentError(ApplicationError):
    """The ledger is not what its notary has signed; the text says in what."""


class ClosedError(ApplicationError):
    """This chatledger is closed. What is unfinished goes on where its store is opened next."""


class GenerationStoppedError(Exception):
    """The producer's task was stopped: raised by its next append, caught by the worker alone."""
