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
            timeout_graceful_shutdown=3,
        )
        self._server = _WithoutSignals(config)

    async def serve(self) -> None:
        """Serve until told to stop."""
        await self._server.serve()

    def stop(self) -> None:
        """Let open connections end, for a while, and then go."""
        self._server.should_exit = True


class _WithoutSignals(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
