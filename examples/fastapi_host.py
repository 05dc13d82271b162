"""A FastAPI service with a chat in it: chatledger opens and closes with the service, which streams by its own routes.

To run it, and to ask it something:

    pip install chatledger fastapi uvicorn
    python fastapi_host.py chat-data 8000
    curl -N http://127.0.0.1:8000/ask?user=ann --json '{"query": "How do I stop an answer?"}'
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from chatledger import (
    AnswerChunkAppended,
    AppConfiguration,
    Chatledger,
    ClosedError,
    InvalidParameterError,
    MessageErrored,
    NotFoundError,
    Settings,
    StorageUnavailableError,
)


class Host:
    """What the routes share: the open chatledger, and the app that answers."""

    def __init__(self, ledger: Chatledger, app: UUID) -> None:
        self.ledger = ledger
        self.app = app


def create_service(folder: Path) -> FastAPI:
    @asynccontextmanager
    async def lifespan(service: FastAPI) -> AsyncIterator[None]:
        async with Chatledger.open(Settings(data_dir=folder, shutdown_grace=5)) as ledger:
            apps = await ledger.apps.list()
            app = apps[0].app_id if apps else await create_app(ledger)
            service.state.host = Host(ledger, app)
            yield

    service = FastAPI(lifespan=lifespan)
    service.add_exception_handler(NotFoundError, refuse(404))
    service.add_exception_handler(InvalidParameterError, refuse(422))
    service.add_exception_handler(ClosedError, refuse(503))
    service.add_exception_handler(StorageUnavailableError, refuse(503))
    add_routes(service)
    return service


async def create_app(ledger: Chatledger) -> UUID:
    return (await ledger.apps.create("chat", "Helper", AppConfiguration(generator="extractive"))).app_id


def refuse(status: int) -> Any:
    async def answer(_: Request, error: Exception) -> JSONResponse:
        field = error.field if isinstance(error, InvalidParameterError) else None
        return JSONResponse({"error": type(error).__name__, "field": field}, status)

    return answer


def host_of(request: Request) -> Host:
    return request.app.state.host


class Question(BaseModel):
    query: str
    conversation_id: UUID | None = None


def add_routes(service: FastAPI) -> None:
    TheHost = Annotated[Host, Depends(host_of)]  # noqa: N806 - a type

    @service.post("/ask")
    async def ask(host: TheHost, user: str, question: Question) -> StreamingResponse:
        """Send; the headers tell the message, whose stream can be fetched again from any version."""
        sent = await host.ledger.messages.send(
            host.app, question.query, user=user, conversation_id=question.conversation_id
        )
        headers = {"x-message": str(sent.message_id), "x-conversation": str(sent.conversation_id)}
        return stream(host, sent.message_id, user, 0, headers)

    @service.get("/messages/{message_id}/stream")
    async def follow(host: TheHost, message_id: UUID, user: str, after: int = 0) -> StreamingResponse:
        # Asked first, while a refusal can still be the status of the answer.
        detail = await host.ledger.messages.get(message_id, app=host.app, user=user)
        if not 0 <= after <= detail.version:
            raise HTTPException(422, "after")
        return stream(host, message_id, user, after, {})

    @service.post("/messages/{message_id}/stop")
    async def stop(host: TheHost, message_id: UUID, user: str) -> None:
        await host.ledger.messages.stop(host.app, message_id, user=user)


def stream(host: Host, message_id: UUID, user: str, after: int, headers: dict[str, str]) -> StreamingResponse:
    return StreamingResponse(lines(host, message_id, user, after), media_type="application/x-ndjson", headers=headers)


async def lines(host: Host, message_id: UUID, user: str, after: int) -> AsyncIterator[str]:
    """One line of JSON for each event that a reader has to know of, with its version to go on from."""
    async with aclosing(host.ledger.messages.follow(message_id, after=after, app=host.app, user=user)) as events:
        async for event in events:
            match event.body:
                case AnswerChunkAppended(attempt=attempt, text=text):
                    # The first text of another attempt takes the place of all that came before it.
                    told = {"attempt": attempt, "text": text}
                case MessageErrored(code=code):
                    told = {"error": code}
                case _:
                    continue
            yield json.dumps({"version": event.version} | told) + "\n"


if __name__ == "__main__":
    uvicorn.run(
        create_service(Path(sys.argv[1])),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        log_level="warning",
        timeout_graceful_shutdown=5,  # an open stream would hold the closing back for as long as it likes
    )
