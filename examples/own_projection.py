"""A read model of the host's own, and code that reacts to events: both follow the ledger, through every restart.

To run it, twice if you like: what was counted once is not counted again.

    pip install chatledger
    python own_projection.py chat-data
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from chatledger import (
    AppConfiguration,
    Chatledger,
    Fact,
    FeedbackGiven,
    Handler,
    MessageCompleted,
    MessageCreated,
    MessageStopped,
    Settings,
)

metadata = sa.MetaData()
usage = sa.Table(
    "shop_usage",
    metadata,
    sa.Column("app_id", sa.Uuid(), primary_key=True),
    sa.Column("questions", sa.BigInteger(), nullable=False, default=0),
    sa.Column("tokens", sa.BigInteger(), nullable=False, default=0),
)


class Usage:
    """What each app was asked, and what that came to: exactly once, as rows and position are one transaction."""

    name = "shop-usage"
    version = 1

    def prepare(self, connection: sa.Connection) -> None:
        metadata.create_all(connection)

    def reset(self, connection: sa.Connection) -> None:
        metadata.drop_all(connection)
        metadata.create_all(connection)

    def project(self, connection: sa.Connection, facts: Sequence[Fact]) -> None:
        for fact in facts:
            app = fact.context.app_id
            match fact.envelope.body:
                case MessageCreated():
                    self._add(connection, app, questions=1)
                case MessageCompleted(usage=cost) | MessageStopped(usage=cost):
                    self._add(connection, app, tokens=cost.total_tokens)

    def _add(self, connection: sa.Connection, app: UUID | None, **more: int) -> None:
        row = sa.update(usage).where(usage.c.app_id == app)
        added = {name: usage.c[name] + number for name, number in more.items()}
        if not connection.execute(row.values(added)).rowcount:
            connection.execute(sa.insert(usage).values(app_id=app, **more))


async def complain(fact: Fact) -> None:
    """A mail or a webhook in a real host. It may come twice, after a crash: the event's id is then the same."""
    if isinstance(fact.envelope.body, FeedbackGiven) and fact.envelope.body.rating == "dislike":
        print(f"somebody was not content: {fact.envelope.body.content}")


complaints = Handler(name="complaints", handle=complain, since="now")


async def main(folder: Path) -> None:
    async with Chatledger.open(Settings(data_dir=folder), projections=[Usage()], handlers=[complaints]) as ledger:
        app = (await ledger.apps.create("chat", "Helper", AppConfiguration(generator="extractive"))).app_id
        for query in ("How do I stop an answer?", "What is a ledger?"):
            answer = await ledger.messages.ask(app, user="ann", query=query)
        await ledger.messages.rate(app, answer.message_id, "dislike", content="too long", user="ann")

        await ledger.subscriptions.caught_up("shop-usage")
        await ledger.subscriptions.caught_up("complaints")
        rows = await ledger.subscriptions.read(lambda connection: connection.execute(sa.select(usage)).all())
        for row in rows:
            print(f"{row.questions} questions, {'some' if row.tokens else 'no'} tokens")
        for status in await ledger.subscriptions.status():
            print(f"{status.name}: {status.lag} behind, {status.parked} streams parked")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
