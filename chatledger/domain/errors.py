"""What the domain refuses, each refusal a type of its own."""

from chatledger.domain.values import StoppedBy


class DomainError(Exception):
    """A command was refused; nothing was recorded."""


class FencedOutError(DomainError):
    """The attempt may append nothing more: a newer attempt exists, or the message has ended."""


class MessageEndedError(FencedOutError):
    """The message has its terminal event."""


class StopPendingError(DomainError):
    """A stop was requested: the message may only be brought to its end.

    Attributes:
        by: who or what asked for it.
    """

    def __init__(self, by: StoppedBy) -> None:
        super().__init__(by)
        self.by: StoppedBy = by


class ConversationDeletedError(DomainError):
    """The conversation is gone; nothing can be done with it any more."""


class ErasedError(DomainError):
    """The person is erased, or is being erased; nothing can be done with them any more."""


class LegalHoldError(DomainError):
    """A legal hold keeps the person's content from being erased."""


class NoSuchHoldError(DomainError):
    """The person has no such legal hold."""


class NotRequestedError(DomainError):
    """Nobody has asked for the person to be erased."""


class NoSuchVariableError(DomainError):
    """The conversation has no such variable."""


class VariableTypeError(DomainError):
    """A conversation's variable was given a value of another type."""


class AppDeletedError(DomainError):
    """The app is gone; nothing can be done with it any more."""


class EndpointRemovedError(DomainError):
    """The endpoint is removed; nothing can be done with it any more."""


class NoSuchAnnotationError(DomainError):
    """The app has no such annotation."""


class TooManyAnnotationsError(DomainError):
    """The app has as many annotations as an app may have."""


class NothingToWithdrawError(DomainError):
    """Feedback was withdrawn that nobody had given."""


class InvalidInputError(DomainError):
    """A value does not fit its declaration.

    Attributes:
        field: the name of the offending field.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
