"""Keys of idempotency under all that may happen: for each person and key one message within its hours, never two."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from chatledger.adapters.generator.scripted import ScriptedGenerator
from chatledger.adapters.queue.in_process import InProcessLiveBus
from chatledger.application.app_limits import AppLimits
from chatledger.application.caller import Caller, EndUsers, Ownership
from chatledger.application.commands.new_message import NewMessage, Sent
from chatledger.application.commands.sending import Sending
from chatledger.application.errors import IdempotencyKeyReusedError
from chatledger.application.files.attaching import Attaching
from chatledger.application.idempotency import IdempotencyKeys
from chatledger.application.ledger.tail import ConversationTail, Tail
from chatledger.application.people import People
from chatledger.application.ports.views import AppView
from chatledger.application.queries.following import Following
from chatledger.application.queries.listening import Lookout
from chatledger.application.system_clock import new_id
from chatledger.domain.configuration import AppConfiguration
from tests.properties.conftest import Place

HOURS = 24

A_CHAT = AppView(
    app_id=UUID(int=1),
    mode="chat",
    name="",
    key_id=UUID(int=2),
    created_at=0,
    status="normal",
    site_code=None,
    configuration=AppConfiguration(generator="scripted"),
)


class Request(NamedTuple):
    user: str
    key: str
    query: str


class Used(NamedTuple):
    """What the model knows of a key."""

    at: datetime
    query: str
    message_id: UUID


class Senders:
    """Everybody who sends to a new app, and the model: what each key of each of them stands for."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.app = msgspec.structs.replace(A_CHAT, app_id=new_id())
        self.used: dict[tuple[str, str], Used] = {}
        self.seen: Counter[str] = Counter()
        self.restart()

    def restart(self) -> None:
        """Whatever a process remembers is gone."""
        ledger, keyring, views = self.place.ledger, self.place.store.keyring, self.place.views
        end_users = EndUsers(views, keyring)
        self.sending = Sending(
            ledger,
            People(ledger, end_users, new_id),
            Ownership(end_users, views),
            Attaching(views, new_id),
            Following(
                ledger, views, Tail(), ConversationTail(), InProcessLiveBus(), Lookout(self.place.store.ledger.head)
            ),
            {"scripted": ScriptedGenerator()},
            new_id,
            longest_query=100,
            limits=AppLimits(views, keyring, self.place.store.clock, 0),
            keys=IdempotencyKeys(views, keyring, self.place.store.clock, HOURS),
        )

    async def send(self, request: Request) -> Sent | IdempotencyKeyReusedError:
        caller = Caller(app=self.app, user=request.user, correlation_id=new_id())
        new = NewMessage(query=request.query, inputs={}, idempotency_key=request.key)
        try:
            sent = await self.sending.send(caller, new)
        except IdempotencyKeyReusedError as refused:
            return refused
        sent.follower.close()
        return sent

    async def send_at_once(self, requests: Sequence[Request]) -> None:
        results = await asyncio.gather(*map(self.send, requests))
        by_key: dict[tuple[str, str], list[tuple[str, Any]]] = defaultdict(list)
        for request, result in zip(requests, results, strict=True):
            by_key[request.user, request.key].append((request.query, result))
        for place, told in by_key.items():
            self.check(place, told)

    def check(self, place: tuple[str, str], told: Sequence[tuple[str, Any]]) -> None:
        """Whoever sent what the key stands for got its message, and all others were refused."""
        now = self.place.store.clock.now()
        used = self.used.get(place)
        if used is not None and now - used.at > timedelta(hours=HOURS):
            self.seen["free again"] += 1
            used = None
        created = [(query, sent) for query, sent in told if isinstance(sent, Sent) and not sent.is_repeat]
        if used is None:
            ((query, sent),) = created
            used = self.used[place] = Used(now, query, sent.message_id)
        else:
            assert created == []
        for query, result in told:
            if query == used.query:
                assert isinstance(result, Sent)
                assert result.message_id == used.message_id
                self.seen["repeat"] += result.is_repeat
            else:
                assert isinstance(result, IdempotencyKeyReusedError)
                self.seen["refused"] += 1


requests = st.builds(Request, st.sampled_from("ab"), st.sampled_from("kl"), st.sampled_from("xyy"))
bursts = st.lists(requests, min_size=1, max_size=8)
pauses = st.sampled_from((0, 13, HOURS, HOURS + 1, "restart"))
"""Hours, unless it is a restart."""


def test_a_key_stands_for_one_message_and_never_for_two(place: Place) -> None:
    seen: Counter[str] = Counter()

    async def run(history: Sequence[tuple[Sequence[Request], Any]]) -> None:
        senders = Senders(place)
        for burst, pause in history:
            await senders.send_at_once(burst)
            if pause == "restart":
                senders.restart()
            else:
                place.store.clock.pass_time(hours=pause)
        seen.update(senders.seen)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(bursts, pauses), min_size=2, max_size=6))
    def histories(history: Sequence[tuple[Sequence[Request], Any]]) -> None:
        place.runner.run(run(history))

    histories()
    assert all(seen[what] for what in ("repeat", "refused", "free again")), seen
