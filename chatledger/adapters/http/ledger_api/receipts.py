"""Receipts: files that prove a message or a conversation to anybody."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer_headers
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.openapi import USER_PARAMETER, Operation
from chatledger.adapters.http.reading import Query, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.audit.receipt import Receipt, Subject


class ReceiptEventObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event's row, as a line of an export has it; its proof (C2SP tlog-proof); and what its sealed part says."""

    event: dict[str, Any]
    proof: str
    content: dict[str, Any] = {}
    is_erased: bool = False


class ReceiptObject(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt: what it is of, the keys that its checkpoint is checked with, and its events."""

    receipt: Literal["chatledger-receipt@v1"]
    subject: Subject
    verifier_keys: Sequence[str]
    events: Sequence[ReceiptEventObject]


_DESCRIPTION = (
    "Its events as they stand on the ledger, each with the proof that it is in a signed checkpoint; one is signed now "
    "if the last does not cover all of them. `chatledger verify` checks the file without the server; it has to be kept "
    "byte for byte. What the sealed parts say is in it as far as the reader may see it."
)
_OF_MESSAGE = Operation(
    tag="Ledger",
    summary="Prove a message",
    description=_DESCRIPTION,
    credential="reader",
    parameters=(USER_PARAMETER,),
    answers={200: ReceiptObject},
    errors=(400, 404, 409),
)
_OF_CONVERSATION = Operation(
    tag="Ledger",
    summary="Prove a conversation and its messages",
    description=_DESCRIPTION,
    credential="reader",
    parameters=(USER_PARAMETER,),
    answers={200: ReceiptObject},
    errors=(400, 404, 409),
)


def receipt_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    receipts = surface.application.receipts

    @get(f"{entrance.prefix}/messages/{{message_id:uuid}}/receipt", opt=entrance.documented(_OF_MESSAGE))
    async def message_receipt(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, message_id)
        reader = await entrance.admit_reader(request, Query(request))
        return receipt_file(request, await receipts.of_message(reader, message_id))

    @get(
        f"{entrance.prefix}/conversations/{{conversation_id:uuid}}/receipt",
        opt=entrance.documented(_OF_CONVERSATION),
    )
    async def conversation_receipt(request: HttpRequest, conversation_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, conversation_id)
        reader = await entrance.admit_reader(request, Query(request))
        return receipt_file(request, await receipts.of_conversation(reader, conversation_id))

    return message_receipt, conversation_receipt


def receipt_file(request: HttpRequest, receipt: Receipt) -> ASGIResponse:
    """The answer that is to be kept byte for byte."""
    name = f"{receipt.subject.id}.receipt.json"
    headers = answer_headers(request) | {"content-disposition": f'attachment; filename="{name}"'}
    return ASGIResponse(body=bytes(receipt), media_type="application/json", headers=headers)
