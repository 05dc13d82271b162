"""Checkpoints of the ledger, and proofs that lead to them."""

from base64 import b64encode
from collections.abc import Sequence

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, answer_headers
from chatledger.adapters.http.auth import NO_CONTENT, require_reader
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.openapi import Operation, Parameter, documented, whole_number
from chatledger.adapters.http.reading import Query
from chatledger.adapters.http.surface import Surface

PLAIN_TEXT = "text/plain"
MOST = 10**18 - 1

Size = whole_number(0, MOST, default=0)


class ConsistencyProofObject(msgspec.Struct, frozen=True, rename={"old": "from", "new": "to"}):
    """That the ledger of ``to`` events extends that of ``from`` (RFC 6962, section 2.1.2); the hashes in base64."""

    old: int
    new: int
    hashes: Sequence[str]


_CHECKPOINT = Operation(
    tag="Ledger",
    summary="Read a checkpoint",
    description="The last one, as a signed note (C2SP tlog-checkpoint): which log, how many events, their root hash.",
    credential="reader",
    parameters=(Parameter("size", "The last one that covers just so many events.", whole_number(1, MOST, default=1)),),
    answers={200: PLAIN_TEXT},
    errors=(400, 404),
)
_PROOF = Operation(
    tag="Ledger",
    summary="Prove that an event is in the ledger, or that the ledger was only added to",
    description=(
        "With `position`: an inclusion proof with the checkpoint that it leads to (C2SP tlog-proof), the last one or "
        "that of `size`. With `from`: a consistency proof from that size to `to`, or to that of the last checkpoint."
    ),
    credential="reader",
    parameters=(
        Parameter("position", "Of the event; its index in the log is one less.", whole_number(1, MOST, default=1)),
        Parameter("size", "How many events the checkpoint covers.", whole_number(1, MOST, default=1)),
        Parameter("from", "The smaller size.", Size),
        Parameter("to", "The larger size, of the last checkpoint at most.", Size),
    ),
    answers={200: ConsistencyProofObject},
    files=(PLAIN_TEXT,),
    errors=(400, 404, 409),
)


def proof_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application = surface.application

    @get("/v1/checkpoint", opt=documented(_CHECKPOINT))
    async def read_checkpoint(request: HttpRequest) -> ASGIResponse:
        query = Query(request)
        await require_reader(request, application.credentials, query, NO_CONTENT)
        signed = await application.proving.checkpoint(_optional(query, "size", 1))
        return _plain(request, signed.note)

    @get("/v1/proof", opt=documented(_PROOF))
    async def prove(request: HttpRequest) -> ASGIResponse:
        query = Query(request)
        await require_reader(request, application.credentials, query, NO_CONTENT)
        position, old = _optional(query, "position", 1), _optional(query, "from", 0)
        size, new = _optional(query, "size", 1), _optional(query, "to", 0)
        if position is not None and old is None and new is None:
            return _plain(request, bytes(await application.proving.inclusion(position, size)))
        if old is not None and position is None and size is None:
            proof = await application.proving.consistency(old, new)
            hashes = [b64encode(each).decode() for each in proof.hashes]
            return answer(request, ConsistencyProofObject(proof.old, proof.new, hashes))
        raise invalid("position", "give position, and perhaps size; or from, and perhaps to")

    return read_checkpoint, prove


def _optional(query: Query, name: str, low: int) -> int | None:
    return None if query.text(name) is None else query.integer(name, low, low, MOST)


def _plain(request: HttpRequest, text: bytes) -> ASGIResponse:
    return ASGIResponse(
        body=text,
        media_type=PLAIN_TEXT,
        headers=answer_headers(request) | {"content-type": f"{PLAIN_TEXT}; charset=utf-8"},
    )
