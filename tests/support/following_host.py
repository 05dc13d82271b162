"""A host in a process of its own: it commits events, and a projection and a handler of its own follow them.

usage: python -m tests.support.following_host EVENTS HANDLED [--die-at POSITION]

It commits that many events, waits until both have caught up, and ends. The handler appends the position of each event
to the file HANDLED. With ``--die-at`` the process kills itself in the middle of the projection's transaction.
"""

import argparse
import asyncio
import os
import signal
from pathlib import Path
from typing import TextIO

from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.hand_ins import HandIn, NewEvent
from chatledger.application.ledger.subscription import Handler
from chatledger.application.system_clock import new_id
from chatledger.bootstrap import open_chatledger
from chatledger.domain.aggregate import Recorded
from chatledger.domain.events import StopRequested
from chatledger.server_settings import load_settings
from tests.support.host_tables import SeenEvents

CATCH_UP_WITHIN = 60.0


async def run(events: int, handled: TextIO, die_at: int | None) -> None:
    projection = SeenEvents()

    def die_when_due(fact):
        if fact.envelope.position == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    projection.check = die_when_due

    async def write_down(fact):
        print(fact.envelope.position, file=handled)

    handler = Handler(name="written", handle=write_down, since="first")
    options = {"projections": [projection], "handlers": [handler], "with_worker": False}
    async with open_chatledger(load_settings(), with_processes=False, **options) as host:
        for _ in range(events):
            event = NewEvent(Recorded(new_id(), 1, StopRequested(by="user")), "message", new_id(), None)
            context = Context(actor=SYSTEM, correlation_id=new_id())
            await host.writer.hand_in(HandIn(events=[event], context=context))
        for subscription in host.subscriptions:
            await subscription.caught_up(timeout=CATCH_UP_WITHIN)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("events", type=int)
    parser.add_argument("handled", type=Path)
    parser.add_argument("--die-at", type=int)
    arguments = parser.parse_args()
    with arguments.handled.open("a", buffering=1) as file:
        print("begun", file=file)
        asyncio.run(run(arguments.events, file, arguments.die_at))
