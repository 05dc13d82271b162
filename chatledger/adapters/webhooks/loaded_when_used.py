"""A sender that the first endpoint loads, off the event loop: most servers have none, and starts are to be quick."""

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Mapping

from chatledger.application.ports.webhooks import AddressRefusedError, Reply, WebhookSender

NOT_INSTALLED = "webhooks need the extra `webhooks`: install chatledger[webhooks]"


class LoadedWhenUsed:
    """Stands for the sender that ``make`` gives, once the module of its class is there."""

    def __init__(self, module: str, needs: str, make: Callable[[], WebhookSender]) -> None:
        """``needs`` is the package that the module needs, which may not be installed."""
        self._module = module
        self._needs = needs
        self._make = make
        self._loading = asyncio.Lock()
        self._sender: WebhookSender | None = None

    async def require_allowed(self, url: str) -> None:
        """Let a URL pass that something may be sent to, as its host's name is resolved now.

        Raises:
            AddressRefusedError: it may not, or nothing can be sent at all.
        """
        await (await self._loaded()).require_allowed(url)

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST a body, within a time limit.

        Raises:
            NotSentError: there is no reply.
        """
        return await (await self._loaded()).send(url, headers, body)

    async def close(self) -> None:
        """Give every connection back."""
        if self._sender is not None:
            await self._sender.close()

    async def _loaded(self) -> WebhookSender:
        async with self._loading:
            if self._sender is None:
                if importlib.util.find_spec(self._needs) is None:
                    raise AddressRefusedError(NOT_INSTALLED)
                await asyncio.to_thread(importlib.import_module, self._module)
                self._sender = self._make()
            return self._sender
