"""Webhooks: what sends, what remembers, and the use cases."""

import asyncio
from contextlib import AsyncExitStack

import msgspec

from chatledger.adapters.persistence.deliveries import SqlDeliveries
from chatledger.adapters.persistence.views.endpoints import SqlEndpointViews
from chatledger.adapters.webhooks.loaded_when_used import LoadedWhenUsed
from chatledger.application.audit.reads import ContentReads
from chatledger.application.commands.managing_webhooks import ManagingWebhooks
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.clock import Clock, IdFactory
from chatledger.application.ports.webhooks import Endpoint, WebhookSender
from chatledger.application.queries.directory import AppDirectory
from chatledger.application.queries.feed import Feed
from chatledger.application.webhooks.courier import Courier, DeliveryPolicy
from chatledger.application.webhooks.telling import Telling
from chatledger.application.webhooks.webhooks import Disabling, Webhooks
from chatledger.settings import Settings

AT_ONCE = 64
"""How many deliveries may be under way, to all endpoints together."""


class WebhookParts(msgspec.Struct, frozen=True):
    """What tells the endpoints, where anything does, and what looks after them."""

    webhooks: Webhooks
    managing: ManagingWebhooks


def make_sender(settings: Settings, clock: Clock) -> WebhookSender:
    """What sends. Whoever uses it closes it."""

    def make() -> WebhookSender:
        from chatledger.adapters.webhooks.sender import HttpWebhookSender  # noqa: PLC0415 - slow to import

        timeout, allowed = settings.webhook_timeout, settings.webhook_allowed_networks
        return HttpWebhookSender(clock, timeout=timeout, allowed=allowed)

    return LoadedWhenUsed("chatledger.adapters.webhooks.sender", "httpcore2", make)


def open_webhooks(
    stack: AsyncExitStack,
    settings: Settings,
    ledger: Ledger,
    views: SqlEndpointViews,
    deliveries: SqlDeliveries,
    directory: AppDirectory,
    feed: Feed,
    clock: Clock,
    *,
    reads: ContentReads,
    new_id: IdFactory,
) -> WebhookParts:
    """All of it, at rest: nothing is sent before :class:`~chatledger.application.webhooks.webhooks.Webhooks` runs."""
    sender = make_sender(settings, clock)
    stack.push_async_callback(sender.close)
    policy = DeliveryPolicy(
        attempts=settings.webhook_attempts,
        first_delay=settings.first_webhook_delay,
        longest_delay=settings.longest_webhook_delay,
        give_up=settings.webhook_give_up_hours * 3_600,
    )
    telling, slots, disabling = Telling(feed, directory), asyncio.Semaphore(AT_ONCE), Disabling(ledger, new_id)

    def new_courier(endpoint: Endpoint) -> Courier:
        return Courier(endpoint, telling, deliveries, sender, clock, policy, slots, disable=disabling.disable)

    webhooks = Webhooks(views, feed, deliveries, new_courier, is_alone=not settings.is_shared)
    managing = ManagingWebhooks(
        ledger, views, deliveries, directory, feed, sender, webhooks, clock, reads=reads, new_id=new_id
    )
    return WebhookParts(webhooks, managing)
