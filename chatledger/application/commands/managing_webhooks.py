"""Registering the endpoints of webhooks, and looking after them."""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from chatledger.application.accepting import MAX_PAGE, accept_number, accept_text
from chatledger.application.audit.reads import ContentReads
from chatledger.application.caller import auditor_of
from chatledger.application.context import Context
from chatledger.application.errors import InvalidParameterError, NotFoundError
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import Clock, IdFactory
from chatledger.application.ports.webhooks import (
    AddressRefusedError,
    Deliveries,
    Endpoint,
    EndpointViews,
    NotSentError,
    Standing,
    Undelivered,
    WebhookSender,
)
from chatledger.application.queries.directory import AppDirectory
from chatledger.application.queries.feed import NOW, Feed, accept_types
from chatledger.application.webhooks.sending import send_signed
from chatledger.application.webhooks.signing import accept_secret, new_secret
from chatledger.application.webhooks.webhooks import Webhooks
from chatledger.domain.errors import EndpointRemovedError
from chatledger.domain.webhook import Webhook

MOST_ENDPOINTS = 100
LONGEST_URL = 2_048
OVERLAP = 24 * 3_600.0
"""Seconds for which a secret signs beside the one that has taken its place."""
MOST_POSITIONS = 1_000
LARGEST_POSITION = 2**63 - 1
LONGEST_OVERLAP = 30 * 24 * 3_600.0

_encode = msgspec.json.Encoder().encode


class RegisteredEndpoint(msgspec.Struct, frozen=True):
    """A new endpoint. The secret is shown this once."""

    endpoint_id: UUID
    secret: str


class EndpointState(msgspec.Struct, frozen=True):
    """An endpoint, and how far it was told; None where it was told nothing yet."""

    endpoint: Endpoint
    standing: Standing | None


class Trial(msgspec.Struct, frozen=True):
    """What came of a trial: whether it was taken, and the status, or why there was no reply."""

    is_success: bool
    outcome: str


def accept_url(given: object) -> str:
    """Where an endpoint is. The reasons quote nothing of it: it may hold a secret.

    Raises:
        InvalidParameterError: it is no address of the web, or holds a user's name or a fragment.
    """
    url = accept_text("url", given)
    try:
        parts = urlsplit(url)
        is_possible = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_possible = False
    if len(url) > LONGEST_URL:
        raise InvalidParameterError("url", f"url must not be longer than {LONGEST_URL} characters")
    if not is_possible or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidParameterError("url", "url must begin with https:// or http:// and name a host, in ASCII")
    if urlsplit(url).username is not None or urlsplit(url).fragment:
        raise InvalidParameterError("url", "url may hold no user name, password or fragment")
    return url


class ManagingWebhooks:
    """The use cases of operators."""

    def __init__(
        self,
        ledger: Ledger,
        views: EndpointViews,
        deliveries: Deliveries,
        directory: AppDirectory,
        feed: Feed,
        sender: WebhookSender,
        webhooks: Webhooks,
        clock: Clock,
        *,
        reads: ContentReads,
        new_id: IdFactory,
    ) -> None:
        self._ledger = ledger
        self._views = views
        self._deliveries = deliveries
        self._directory = directory
        self._feed = feed
        self._sender = sender
        self._webhooks = webhooks
        self._reads = reads
        self._clock = clock
        self._new_id = new_id

    async def register(
        self,
        url: str,
        context: Context,
        *,
        app_id: UUID | None = None,
        types: Collection[str] = (),
        secret: str | None = None,
        after: str | None = NOW,
    ) -> RegisteredEndpoint:
        """Tell an endpoint of an app's events, or of those of all apps.

        Args:
            url: where it is.
            context: whose doing it is.
            app_id: whose events; None for those of all apps.
            types: the types of those events; none for all.
            secret: what signs; a new one, unless the receiver has one already.
            after: a cursor of the feed: what comes after it; None for everything.

        Raises:
            InvalidParameterError: a value is not acceptable, the URL leads to an address that nothing is sent to, or
                there are as many endpoints as there may be.
            NotFoundError: there is no such app.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        url, wanted = accept_url(url), accept_types("types", types)
        secret = new_secret() if secret is None else accept_secret(secret)
        if app_id is not None:
            await self._directory.app(app_id)
        position = await self._feed.place(after)
        if len(await self._views.endpoints()) >= MOST_ENDPOINTS:
            raise InvalidParameterError("url", f"there are {MOST_ENDPOINTS} endpoints, and may be no more")
        try:
            await self._sender.require_allowed(url)
        except AddressRefusedError as error:
            raise InvalidParameterError("url", str(error)) from error
        await self._note_read(app_id, context)
        key = self._ledger.keyring.new_key(None)
        webhook = Webhook.register(
            self._new_id(), app_id=app_id, types=[*wanted], after=position, url=url, secret=secret
        )
        await self._ledger.hand_in(Staged(webhook, key.key_id), context=context, new_keys=(key,))
        return RegisteredEndpoint(webhook.id, secret)

    async def endpoints(self) -> Sequence[EndpointState]:
        """All of them, and how far each was told."""
        endpoints = await self._views.endpoints()
        return [EndpointState(one, await self._deliveries.standing(one.endpoint_id)) for one in endpoints]

    async def endpoint(self, endpoint_id: UUID) -> EndpointState:
        """One of them.

        Raises:
            NotFoundError: there is no such endpoint.
        """
        return EndpointState(await self._there(endpoint_id), await self._deliveries.standing(endpoint_id))

    async def remove(self, endpoint_id: UUID, context: Context) -> None:
        """Tell it nothing any more.

        Raises:
            NotFoundError: there is no such endpoint.
        """
        await self._there(endpoint_id)
        await self._decide(endpoint_id, lambda webhook: webhook.remove(), context)
        await self._deliveries.forget(endpoint_id)

    async def rotate_secret(
        self, endpoint_id: UUID, context: Context, *, secret: str | None = None, overlap: float = OVERLAP
    ) -> str:
        """Sign with another secret, which is shown this once; the one so far signs too for ``overlap`` seconds.

        Raises:
            InvalidParameterError: the secret or the overlap is not acceptable.
            NotFoundError: there is no such endpoint.
        """
        secret = new_secret() if secret is None else accept_secret(secret)
        if not 0 <= overlap <= LONGEST_OVERLAP:
            raise InvalidParameterError("overlap", f"overlap must be between 0 and {LONGEST_OVERLAP:.0f} seconds")
        until = self._clock.now() + timedelta(seconds=overlap)
        await self._there(endpoint_id)
        await self._decide(endpoint_id, lambda webhook: webhook.rotate_secret(secret, until), context)
        return secret

    async def disable(self, endpoint_id: UUID, context: Context) -> None:
        """Tell it nothing for now.

        Raises:
            NotFoundError: there is no such endpoint.
        """
        await self._there(endpoint_id)
        await self._decide(endpoint_id, lambda webhook: webhook.disable("operator"), context)

    async def enable(self, endpoint_id: UUID, context: Context) -> None:
        """Tell it again, of what happened meanwhile too. What it has failed before is not held against it.

        Raises:
            NotFoundError: there is no such endpoint.
        """
        if (await self._there(endpoint_id)).disabled_for is None:
            return
        async with self._webhooks.held(endpoint_id):
            await self._deliveries.forgive(endpoint_id)
            await self._decide(endpoint_id, lambda webhook: webhook.enable(), context)

    async def test(self, endpoint_id: UUID) -> Trial:
        """Send it an event that is none of the ledger, right now and once.

        Raises:
            NotFoundError: there is no such endpoint.
        """
        endpoint, now = await self._there(endpoint_id), self._clock.now()
        event_id = self._new_id()
        body = _encode(
            {
                "specversion": "1.0",
                "id": event_id,
                "source": self._feed.source,
                "type": "chatledger.webhook.test",
                "subject": endpoint_id,
                "time": now,
                "datacontenttype": "application/json",
                "data": {},
            }
        )
        try:
            reply = await send_signed(self._sender, endpoint, f"msg_{event_id.hex}", body, to_microseconds(now))
        except NotSentError as error:
            return Trial(is_success=False, outcome=error.reason)
        return Trial(reply.is_success, str(reply.status))

    # What it has not taken

    async def dead_letters(
        self, endpoint_id: UUID, after: int = 0, limit: int = MAX_PAGE
    ) -> tuple[Sequence[Undelivered], bool]:
        """The events that were given up on, in order, after a position; and whether more follow.

        Raises:
            NotFoundError: there is no such endpoint.
            InvalidParameterError: a page is not that long.
        """
        accept_number("limit", limit, 1, MAX_PAGE)
        await self._there(endpoint_id)
        found = await self._deliveries.dead_letters(endpoint_id, after, limit + 1)
        return found[:limit], len(found) > limit

    async def replay_dead_letters(
        self, endpoint_id: UUID, context: Context, positions: Collection[int] | None = None
    ) -> int:
        """Try them again, these or all; how many there were.

        Raises:
            NotFoundError: there is no such endpoint.
            InvalidParameterError: one of these is no position, or there are too many.
        """
        if positions is not None and len(positions) > MOST_POSITIONS:
            raise InvalidParameterError("positions", f"positions must not be more than {MOST_POSITIONS}")
        for position in positions or ():
            accept_number("positions", position, 1, LARGEST_POSITION)
        await self._note_read((await self._there(endpoint_id)).app_id, context)
        async with self._webhooks.held(endpoint_id):
            return await self._deliveries.revive(endpoint_id, positions)

    async def replay(self, endpoint_id: UUID, after: str | None, context: Context) -> None:
        """Tell it everything after a cursor of the feed once more, each event under the id that it had; None for all.

        Where it has not come as far as the cursor, it is told from where it stands: nothing is passed over.

        Raises:
            NotFoundError: there is no such endpoint.
            InvalidParameterError: it is no cursor of this ledger.
        """
        endpoint = await self._there(endpoint_id)
        position = await self._feed.place(after)
        await self._note_read(endpoint.app_id, context)
        async with self._webhooks.held(endpoint_id):
            await self._deliveries.begin(endpoint_id, endpoint.after)
            await self._deliveries.rewind(endpoint_id, position)

    async def _note_read(self, app_id: UUID | None, context: Context) -> None:
        """Whoever has an endpoint told reads what it is told."""
        await self._reads.note(auditor_of(context), "ledger" if app_id is None else "app", app_id)

    async def _there(self, endpoint_id: UUID) -> Endpoint:
        endpoint = await self._views.endpoint(endpoint_id)
        if endpoint is None:
            raise NotFoundError("webhook")
        return endpoint

    async def _decide(self, endpoint_id: UUID, command: Callable[[Webhook], None], context: Context) -> None:
        def decide(staged: Staged[Webhook]) -> None:
            command(staged.aggregate)

        try:
            await self._ledger.decide(Webhook, endpoint_id, decide, context)
        except EndpointRemovedError as error:
            raise NotFoundError("webhook") from error
