"""What schemathesis finds and what is meant so, each with its reason. Anything else fails the test."""

from collections.abc import Callable
from typing import Any

import schemathesis

ACCEPTED, REFUSED = "AcceptedNegativeData", "RejectedPositiveData"
"""What the document forbids was accepted; what it allows was refused."""


def _fields(case: Any) -> dict[str, Any]:
    return case.body if isinstance(case.body, dict) else {}


def _told(response: Any) -> str:
    """The field that a refusal names."""
    return str(response.json().get("params"))


MEANT: list[tuple[str, str, Callable[[Any, Any], bool]]] = [
    (
        ACCEPTED,
        "a user of another type is taken as its text: some clients number their users (contract of the API)",
        lambda case, _: not isinstance(_fields(case).get("user", ""), str),
    ),
    (
        ACCEPTED,
        "an empty user is nobody, which is fine where none is needed",
        lambda case, _: _fields(case).get("user") == "",
    ),
    (
        ACCEPTED,
        "what cannot be traced by is passed over: it must never cost an answer",
        lambda case, _: "trace_id" in _fields(case),
    ),
    (
        ACCEPTED,
        "an empty value in the query string counts as absent: a widespread client sends what it was not given so",
        lambda case, _: any(value in ("", [], [""], {}) for value in (case.query or {}).values()),
    ),
    (
        REFUSED,
        "a rating can be taken back only where there is one",
        lambda case, response: case.operation.path.endswith("/feedbacks") and _told(response) == "rating",
    ),
    (
        REFUSED,
        "a place to go on from has to be one that the server gave",
        lambda _, response: _told(response) in ("cursor", "after", "Last-Event-ID", "last_id"),
    ),
    (
        REFUSED,
        "whoever is not named by their own id is named by an app and its name for them",
        lambda case, response: (
            case.operation.path.startswith("/v1/admin/users/") and _told(response) in ("app_id", "user")
        ),
    ),
    (
        REFUSED,
        "NUL characters are dropped from every text, and a user of nothing else is nobody",
        lambda case, response: (
            _told(response) == "user" and not str((_fields(case) or case.query or {}).get("user", "")).strip("\0")
        ),
    ),
    (
        REFUSED,
        "the same of a name and of a reason, which have to show",
        lambda case, response: (
            _told(response) in ("name", "reason")
            and not str(_fields(case).get(_told(response), "")).replace("\0", "").strip()
        ),
    ),
    (
        REFUSED,
        "a key stands for one request only, and schemathesis gives the same one to several",
        lambda _, response: response.status_code == 422 and _told(response) == "Idempotency-Key",
    ),
    (
        REFUSED,
        "a message takes files of the kinds and as many as its app says, on the web or from its own user",
        lambda _, response: _told(response) == "files",
    ),
    (
        REFUSED,
        "a conversation is named by hand, or asks to be named",
        lambda case, response: case.operation.path.endswith("/name") and _told(response) == "name",
    ),
    (
        REFUSED,
        "a variable takes values of its own type",
        lambda case, _: "/variables/" in case.operation.path and "value" in _fields(case),
    ),
    (
        REFUSED,
        "a file of ratings has no pages",
        lambda case, response: (
            (case.query or {}).get("format") in ("csv", "jsonl") and _told(response) in ("page", "limit")
        ),
    ),
    (
        REFUSED,
        "a moment of the past is a position that the ledger has got to, or a time that has come",
        lambda _, response: _told(response) == "as_of",
    ),
    (
        REFUSED,
        "an endpoint has to be one that something may be sent to, and its secret one of Standard Webhooks",
        lambda case, response: "/webhooks" in case.operation.path and _told(response) in ("url", "secret"),
    ),
    (
        REFUSED,
        "a stream of events has no pages",
        lambda case, response: case.operation.path == "/v1/events" and _told(response) == "limit",
    ),
    (
        REFUSED,
        "a file has only the parts that it has",
        lambda _, response: response.status_code == 416,
    ),
    (
        REFUSED,
        "what is to be heard has to be audio, which its bytes show",
        lambda case, response: case.operation.path.endswith("/audio-to-text") and response.status_code == 415,
    ),
    (
        REFUSED,
        "something has to be said, a text or a message of the caller's own",
        lambda case, response: case.operation.path.endswith("/text-to-audio") and _told(response) == "text",
    ),
    (
        REFUSED,
        "a job has to be one that the server gave; to an unknown one Dify's answer is 400",
        lambda _, response: _told(response) == "job_id",
    ),
    (
        REFUSED,
        "a proof is of a position, or from one size to another, within what was signed",
        lambda case, response: case.operation.path == "/v1/proof" and _told(response) in ("position", "from", "to"),
    ),
    (
        REFUSED,
        "what is looked for has a word in it",
        lambda case, response: case.operation.path == "/v1/search" and _told(response) == "q",
    ),
    (
        REFUSED,
        "nobody is connected for an answer in the background, so no disconnect can stop it",
        lambda case, response: _fields(case).get("response_mode") == "async" and _told(response) == "on_disconnect",
    ),
    (
        REFUSED,
        "embeddings need a provider, which this server has not",
        lambda case, response: (
            bool(_fields(case).get("embedding_model_name")) and _told(response) == "embedding_model_name"
        ),
    ),
]


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether a failure counts."""
    kind = type(failure).__name__
    return not any(kind == meant and applies(case, response) for meant, _, applies in MEANT)
