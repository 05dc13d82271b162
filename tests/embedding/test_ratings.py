"""What a host learns of an app's ratings, and of who gave them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chatledger import AppConfiguration, InvalidParameterError, NotFoundError
from chatledger.application.system_clock import new_id
from tests.embedding.hosting import hosted


async def test_ratings_of_a_period_and_the_people_who_gave_them(tmp_path: Path) -> None:
    async with hosted(tmp_path) as ledger:
        made = await ledger.apps.create("chat", "An app", AppConfiguration(generator="scripted"))
        answer = await ledger.messages.ask(made.app_id, "hello", user="ada")
        await ledger.messages.rate(made.app_id, answer.message_id, "like", user="ada")
        (rating,) = await ledger.apps.feedbacks(made.app_id)
        person = await ledger.apps.end_user(made.app_id, rating.end_user_id)
        assert (person.external_id, person.kind, person.is_anonymous) == ("ada", "service-api", False)

        now, today = datetime.now(UTC), datetime.now(UTC).date()
        assert await ledger.apps.feedbacks(made.app_id, start=now - timedelta(hours=1), end=now) == [rating]
        assert await ledger.apps.feedbacks(made.app_id, start=today - timedelta(days=1), end=today) == [rating]
        assert await ledger.apps.feedbacks(made.app_id, end="2026-01-01T00:00:00Z") == []
        for start in (now.replace(tzinfo=None), "yesterday", 5):
            with pytest.raises(InvalidParameterError) as refusal:
                await ledger.apps.feedbacks(made.app_id, start=start)
            assert refusal.value.field == "start"
        with pytest.raises(NotFoundError) as missing:
            await ledger.apps.end_user(made.app_id, new_id())
        assert missing.value.missing == "end_user"


async def test_a_host_asks_for_what_was(tmp_path: Path) -> None:
    async with hosted(tmp_path) as ledger:
        app = (await ledger.apps.create("chat", "An app", AppConfiguration(generator="scripted"))).app_id
        answer = await ledger.messages.ask(app, "hello", user="ada")
        await ledger.messages.rate(app, answer.message_id, "like", user="ada")
        (rating,) = await ledger.apps.feedbacks(app)
        questions = (
            lambda **then: ledger.apps.feedbacks(app, **then),
            lambda **then: ledger.messages.get(answer.message_id, **then),
            lambda **then: ledger.messages.history(app, answer.conversation_id, user="ada", **then),
            lambda **then: ledger.conversations.list(app, user="ada", **then),
        )
        before, now = [await ask() for ask in questions], datetime.now(UTC)
        await ledger.messages.withdraw_rating(app, answer.message_id, user="ada")
        await ledger.conversations.delete(app, answer.conversation_id, user="ada")

        for as_of in (rating.position, str(rating.position), now, now.isoformat()):
            assert [await ask(as_of=as_of) for ask in questions] == before
        for as_of in (True, -1, 2.5, "", now.replace(tzinfo=None), now + timedelta(hours=1)):
            for ask in questions:
                with pytest.raises(InvalidParameterError) as refusal:
                    await ask(as_of=as_of)
                assert refusal.value.field == "as_of"
