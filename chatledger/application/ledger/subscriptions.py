"""All subscriptions of a running chatledger: begun, woken and ended together, but for the rest on their own."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from chatledger.application.grace import Grace
from chatledger.application.leadership import Leadership
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.subscription import ProjectionSubscription, Subscription, SubscriptionStatus
from chatledger.application.ports.tracking import EffectFailedError


class SubscriptionProblemError(Exception):
    """A projection or handler cannot be run; the text says which, and what is wrong with it."""


class Subscriptions:
    """Each has a task of its own, on whichever node it falls to: one that is slow or fails holds up no other.

    Raises:
        SubscriptionProblemError: a name is empty, or two of them share one.
    """

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._by_name = {subscription.name: subscription for subscription in subscriptions}
        for name, count in Counter(subscription.name for subscription in subscriptions).items():
            if not name:
                raise SubscriptionProblemError("a projection or handler has an empty name")
            if count > 1:
                raise SubscriptionProblemError(f"{name}: {count} projections or handlers have this name")

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Subscription:
        return self._by_name[name]

    @asynccontextmanager
    async def following(self, leadership: Leadership, grace: Grace) -> AsyncIterator[None]:
        """Have those follow while inside that fall to this node. At the end each ends what it is at, within the grace.

        Raises:
            SubscriptionProblemError: a projection's own code failed in its preparation.
            StorageUnavailableError: the store is in trouble.
        """
        await self._begin()
        async with AsyncExitStack() as stack:
            for subscription in self:
                post = leadership.post(f"subscription {subscription.name}")
                at_rest = partial(_until_at_rest, subscription, grace)
                await stack.enter_async_context(post.filled(subscription.follow, finish=at_rest))
            stack.callback(self._close)
            yield

    async def _begin(self) -> None:
        """Find out where each one stands.

        Raises:
            SubscriptionProblemError: a projection's own code failed in its preparation.
            StorageUnavailableError: the store is in trouble.
        """
        for subscription in self:
            try:
                await subscription.begin()
            except EffectFailedError as failed:
                raise _problem(subscription.name, "it could not be prepared", failed) from failed.__cause__

    def committed(self, _: Sequence[Envelope]) -> None:
        """This process has committed events."""
        self.wake()

    def wake(self) -> None:
        """Somebody has committed events, in this process or in another one. To be called in the event loop."""
        for subscription in self:
            subscription.wake()

    async def rebuild(self, name: str) -> None:
        """Empty a projection and have it follow again from the first event on.

        Raises:
            SubscriptionProblemError: it is a handler, whose effects cannot be taken back; or the projection's own code
                failed, and nothing was changed.
            SubscriptionStoppedError: another version of it has taken over.
            StorageUnavailableError: the store is in trouble; nothing was changed.
        """
        subscription = self[name]
        if not isinstance(subscription, ProjectionSubscription):
            raise SubscriptionProblemError(f"{name}: what a handler has done cannot be done anew")
        try:
            await subscription.rebuild()
        except EffectFailedError as failed:
            raise _problem(name, "it could not be emptied", failed) from failed.__cause__

    async def status(self) -> list[SubscriptionStatus]:
        """How each one does."""
        return [await subscription.status() for subscription in self]

    def _close(self) -> None:
        """All of them, before the end of any is waited for."""
        for subscription in self:
            subscription.close()


async def _until_at_rest(subscription: Subscription, grace: Grace) -> None:
    await grace.wait_for(subscription.until_at_rest())


def _problem(name: str, what: str, failed: EffectFailedError) -> SubscriptionProblemError:
    return SubscriptionProblemError(f"{name}: {what}: {type(failed.__cause__ or failed).__name__}")
