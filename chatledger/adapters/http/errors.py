"""One table from what can go wrong to what the wire says about it."""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException

from chatledger.adapters.http.answers import HttpRequest, answer_headers
from chatledger.application.disclosure import generation_message
from chatledger.application.errors import (
    AlreadyReplayedError,
    AnswerPendingError,
    AppUnavailableError,
    ClosedError,
    ConversationBusyError,
    FeatureDisabledError,
    FileAccessDeniedError,
    FileTooLargeError,
    ForbiddenError,
    GenerationFailedError,
    HeldError,
    IdempotencyKeyReusedError,
    InvalidParameterError,
    LedgerInconsistentError,
    NoSuccessorError,
    NotFoundError,
    QuotaUsedUpError,
    RateLimitedError,
    RebuildRunningError,
    SearchDisabledError,
    SiteClosedError,
    SpeechToTextDisabledError,
    SpeechToTextUnsupportedError,
    TooLongError,
    TooManyRequestsError,
    TypeMismatchError,
    UnauthorizedError,
    UnsupportedAudioError,
    WrongModeError,
)
from chatledger.application.fault_report import describe
from chatledger.application.generation.failures import CONSEQUENCES
from chatledger.application.ledger.hand_ins import VersionConflictError
from chatledger.application.ports.files import BlobMissingError
from chatledger.application.ports.generator import GeneratorError
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.storage import CommitInDoubtError, SchemaError, StorageUnavailableError
from chatledger.domain.events import MessageErrored
from chatledger.domain.values import ErrorCode

log = logging.getLogger(__name__)

QUOTA_RETRY_AFTER = 60
"""Seconds after which a caller whose provider quota is used up may ask again."""

TROUBLE_RETRY_AFTER = 1
"""Seconds after which a caller may ask again when the store is in trouble or the server is at a bound."""

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="api"'}
BAD_BODY = "Invalid JSON payload received or JSON payload is empty."
QUOTA_USED_UP = "The app's tokens of this day are used up."
UNKNOWN_TOKEN = "Access token is invalid"  # noqa: S105 - the message, not a token
INTERNAL = (
    "The server encountered an internal error and was unable to complete your request. "
    "Either the server is overloaded or there is an error in the application."
)

_MISSING = {
    "conversation": "Conversation Not Exists.",
    "conversation_variable": "Conversation Variable Not Exists.",
    "message": "Message Not Exists.",
    "first_message": "First Message Not Exists.",
    "last_conversation": "Last Conversation Not Exists.",
    "task": "Task Not Exists.",
    "app": "App Not Exists.",
    "file": "The requested file was not found.",
    "site": "Site Not Exists.",
    "annotation": "Annotation not found",
    "end_user": "End user not found.",
    "dead_letter": "Dead Letter Not Exists.",
    "erasure": "Erasure Not Exists.",
    "hold": "Legal Hold Not Exists.",
    "operator": "Operator Not Exists.",
    "checkpoint": "Checkpoint Not Exists.",
    "webhook": "Webhook Not Exists.",
}

_MISSING_CODES = {"file": "file_not_found", "end_user": "end_user_not_found"}
"""Where it is not the usual one."""

_DISABLED = {
    "suggested_questions_after_answer": (
        "app_suggested_questions_after_answer_disabled",
        "Suggested Questions After Answer",
    ),
    "more_like_this": ("app_more_like_this_disabled", "More like this"),
}

_BY_STATUS = {
    400: ("bad_request", "The browser (or proxy) sent a request that this server could not understand."),
    401: ("unauthorized", UNKNOWN_TOKEN),
    403: ("forbidden", "You don't have the permission to access the requested resource."),
    404: ("not_found", "The requested URL was not found on the server."),
    405: ("method_not_allowed", "The method is not allowed for the requested URL."),
    413: ("request_entity_too_large", "The data value transmitted exceeds the capacity limit."),
    415: ("unsupported_media_type", "The request body must be JSON (Content-Type: application/json)."),
    503: ("service_unavailable", "The server cannot take this request right now. Please try again."),
}

GENERATION_STATUS: Mapping[ErrorCode, int] = {
    "invalid_param": 400,
    "provider_not_initialize": 403,
    "provider_quota_exceeded": 429,
    "completion_request_error": 400,
    "internal_server_error": 500,
}
"""The HTTP status of a failed generation, where the failure is the whole answer."""

WEB_PREFIX = "/api/"
"""Under it visitors are told ``not_completion_app`` where an app's key is told ``app_unavailable``."""


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Every error, on every route.

    ``params`` names the first offending field. The ids are those of a message that was taken in all the same: it will
    be answered, and to send it again without a key would double it.
    """

    code: str
    message: str
    status: int
    params: str | None = None
    task_id: UUID | None = None
    message_id: UUID | None = None
    conversation_id: UUID | None = None


class HttpError(Exception):
    """A request that the HTTP surface itself refuses."""

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        code: str | None = None,
        params: str | None = None,
        headers: Mapping[str, str] | None = None,
        ids: Mapping[str, UUID | None] | None = None,
    ) -> None:
        known_code, known_message = _BY_STATUS.get(status, ("internal_server_error", INTERNAL))
        message = known_message if message is None else message
        body = ErrorBody(code=code or known_code, message=message, status=status, params=params)
        self.body = msgspec.structs.replace(body, **(ids or {}))
        self.headers = {"Retry-After": str(TROUBLE_RETRY_AFTER)} if status == 429 else {}
        self.headers |= headers or {}
        super().__init__(self.body.code)


def invalid(field: str, reason: str) -> HttpError:
    """A value of the request that is not acceptable."""
    return HttpError(400, reason, code="invalid_param", params=field)


def unavailable(ids: Mapping[str, UUID | None] | None = None) -> HttpError:
    """Not now: the process drains, a bound is reached, or the store is in trouble.

    ``ids`` are those of the message, where it was taken in before.
    """
    return HttpError(503, headers={"Retry-After": str(TROUBLE_RETRY_AFTER)}, ids=ids)


def stream_error(errored: MessageErrored) -> dict[str, Any]:
    """The fields of an ``error`` event. Clients show no other ``status`` than 400, so the true one stands apart."""
    status = GENERATION_STATUS[errored.code]
    return {
        "code": errored.code,
        "message": generation_message(errored.code, errored.message),
        "status": 500 if status == 500 else 400,
        "http_status": status,
    }


def _generation_failed(error: GenerationFailedError) -> HttpError:
    return _failed(error.code, error.reason)


def _provider_failed(error: GeneratorError) -> HttpError:
    return _failed(CONSEQUENCES[error.kind].code, str(error))


def _failed(code: ErrorCode, reason: str) -> HttpError:
    headers = {"Retry-After": str(QUOTA_RETRY_AFTER)} if code == "provider_quota_exceeded" else None
    return HttpError(GENERATION_STATUS[code], generation_message(code, reason), code=code, headers=headers)


def _not_found(error: NotFoundError) -> HttpError:
    return HttpError(404, _MISSING[error.missing], code=_MISSING_CODES.get(error.missing))


def _wrong_mode(error: WrongModeError) -> HttpError:
    if error.needs == "chat":
        status = 403 if error.is_feature else 400
        return HttpError(status, "Please check if your app mode matches the right API route.", code="not_chat_app")
    return _not_completion_app(403) if error.is_feature else _app_unavailable(error)


def _not_completion_app(status: int) -> HttpError:
    message = "Please check if your Completion app mode matches the right API route."
    return HttpError(status, message, code="not_completion_app")


def _feature_disabled(error: FeatureDisabledError) -> HttpError:
    code, name = _DISABLED[error.feature]
    return HttpError(403, f"The '{name}' feature is disabled. Please refresh your page.", code=code)


def _app_unavailable(_: Exception) -> HttpError:
    return HttpError(400, "App unavailable, please check your app configurations.", code="app_unavailable")


def _answer_pending(error: AnswerPendingError) -> HttpError:
    """Only under a key: without one, a client that came again unseeing would send the same twice."""
    ids = {"task_id": error.task_id, "message_id": error.message_id, "conversation_id": error.conversation_id}
    return unavailable(ids) if error.is_keyed else HttpError(503, ids=ids)


def _too_many_requests(error: TooManyRequestsError) -> HttpError:
    message = (
        "Too many requests. Please try again later. "
        f"The current maximum concurrent requests allowed is {error.ceiling}."
    )
    return HttpError(429, message, code="too_many_requests")


def _conversation_busy(error: ConversationBusyError) -> HttpError:
    message = "The conversation is busy: another of its messages has not been answered yet."
    if error.most:
        message = f"The conversation is busy: more than {error.most} of its messages have not been answered yet."
    return HttpError(409, message, code="conversation_busy")


def _rate_limited(error: RateLimitedError) -> HttpError:
    longest = max(allowance.retry_after for allowance in error.allowances)
    headers = {"Retry-After": str(math.ceil(longest))}
    return HttpError(429, "Rate Limit Error", code="rate_limit_error", headers=headers)


def _quota_used_up(error: QuotaUsedUpError) -> HttpError:
    headers = {"Retry-After": str(error.retry_after)}
    return HttpError(429, QUOTA_USED_UP, code="provider_quota_exceeded", headers=headers)


def _framework(error: HTTPException) -> HttpError:
    status = error.status_code if error.status_code in _BY_STATUS else 400 if error.status_code < 500 else 500
    return HttpError(status, headers=error.headers)


_TABLE: dict[type[Exception], Callable[[Any], HttpError]] = {
    HttpError: lambda error: error,
    InvalidParameterError: lambda error: invalid(error.field, str(error)),
    TooLongError: lambda error: HttpError(413, str(error), params=error.field),
    TypeMismatchError: lambda error: HttpError(400, str(error)),
    NotFoundError: _not_found,
    FileTooLargeError: lambda error: HttpError(413, str(error), code="file_too_large"),
    FileAccessDeniedError: lambda _: HttpError(
        403, "Access to the requested file is denied.", code="file_access_denied"
    ),
    BlobMissingError: lambda _: _not_found(NotFoundError("file")),
    WrongModeError: _wrong_mode,
    FeatureDisabledError: _feature_disabled,
    SearchDisabledError: lambda _: HttpError(
        501, "The server keeps no search index: its setting `search` is off.", code="search_disabled"
    ),
    SpeechToTextDisabledError: lambda _: HttpError(400, "Speech to text is disabled.", code="speech_to_text_disabled"),
    SpeechToTextUnsupportedError: lambda _: HttpError(
        400, "Provider not support speech to text.", code="provider_not_support_speech_to_text"
    ),
    UnsupportedAudioError: lambda _: HttpError(415, "Audio type not allowed.", code="unsupported_audio_type"),
    GeneratorError: _provider_failed,
    AppUnavailableError: _app_unavailable,
    SiteClosedError: lambda error: HttpError(400, str(error)),
    UnauthorizedError: lambda _: HttpError(401, headers=CHALLENGE),
    ForbiddenError: lambda error: HttpError(403, str(error) or None),
    GenerationFailedError: _generation_failed,
    AnswerPendingError: _answer_pending,
    IdempotencyKeyReusedError: lambda error: HttpError(
        422, str(error), code="idempotency_key_reused", params="Idempotency-Key"
    ),
    TooManyRequestsError: _too_many_requests,
    ConversationBusyError: _conversation_busy,
    RateLimitedError: _rate_limited,
    QuotaUsedUpError: _quota_used_up,
    AlreadyReplayedError: lambda error: HttpError(409, f"It is replayed already: {error}.", code="already_replayed"),
    HeldError: lambda _: HttpError(409, "A legal hold keeps this person from being erased.", code="legal_hold"),
    LedgerInconsistentError: lambda error: HttpError(
        409, f"The ledger is not what was signed: {error}.", code="ledger_inconsistent"
    ),
    NoSuccessorError: lambda error: HttpError(409, f"The master key stays: {error}.", code="no_successor"),
    RebuildRunningError: lambda error: HttpError(409, str(error), code="rebuild_running"),
    KeyDestroyedError: lambda _: HttpError(410, "The content has been erased.", code="erased"),
    # Without Retry-After: a client that obeyed it unseeing might send the same twice.
    CommitInDoubtError: lambda _: HttpError(
        503, "It is not known whether this was stored: look before you repeat it, unless it has an Idempotency-Key."
    ),
    StorageUnavailableError: lambda _: unavailable(),
    SchemaError: lambda _: unavailable(),  # the read models were dropped while this node was away: it makes them anew
    ClosedError: lambda _: unavailable(),
    VersionConflictError: lambda _: unavailable(),
    HTTPException: _framework,
}


def to_http_error(error: Exception) -> HttpError:
    """What the wire says about an exception; what is not in the table is our own fault and logged without its text."""
    for kind in type(error).__mro__:
        translate = _TABLE.get(kind)
        if translate is not None:
            return translate(error)
    log.error("unhandled: %s", describe(error))
    return HttpError(500)


def answer_error(request: HttpRequest, error: Exception) -> Response[bytes]:
    """The error envelope."""
    translated = to_http_error(error)
    is_visitors = request.scope["path"].startswith(WEB_PREFIX)
    if is_visitors and isinstance(error, WrongModeError) and error.needs == "completion" and not error.is_feature:
        translated = _not_completion_app(400)
    return Response(
        msgspec.json.encode(translated.body),
        status_code=translated.body.status,
        media_type="application/json",
        headers=answer_headers(request) | dict(translated.headers),
    )
