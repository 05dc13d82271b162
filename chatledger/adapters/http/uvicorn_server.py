"""The second HTTP server."""

import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn


class UvicornServer:
    """uvicorn, with the signals left to their owner."""

    def __init__(self, app: Any, host: str, port: int, backlog: int) -> None:
        """Nothing is bound yet."""
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            backlog=backlog,
            access_log=False,
            log_config=None,
            ws="none",
            lifespan="off",
        )
        self._server = _WithoutSignals(config)

    async def serve(self) -> None:
        """Serve until told to stop."""
        await self._server.serve()

    def stop(self) -> None:
        """Let open connections end."""
        self._server.should_exit = True

    def cut(self) -> None:
        """Break the connections that are still open; what is sent on them from now on goes nowhere."""
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        self._server.force_exit = True


class _WithoutSignals(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
