"""What failed for good, in the hands of a host."""

from pathlib import Path

import pytest

from chatledger import AlreadyReplayedError, GenerationFailedError, NotFoundError
from tests.embedding.hosting import hosted, new_app


async def test_a_host_finds_what_failed_and_asks_it_again(tmp_path: Path) -> None:
    async with hosted(tmp_path) as ledger:
        app, other = await new_app(ledger, fail_as="quota"), await new_app(ledger, fail_as="invalid")
        for failing in (other, app, app):
            with pytest.raises(GenerationFailedError) as failed:
                await ledger.messages.ask(failing, "hello", user="ada")

        listed = await ledger.dead_letters.list(app=app, limit=1)
        (letter,) = listed.items
        assert (letter.message_id, letter.code, listed.has_more) == (
            failed.value.message_id,
            "provider_quota_exceeded",
            True,
        )
        rest = await ledger.dead_letters.list(app=app, last_id=letter.message_id)
        assert (len(rest.items), rest.has_more) == (1, False)
        assert [found.app_id for found in (await ledger.dead_letters.list()).items] == [app, app, other]
        assert (await ledger.dead_letters.list(code="completion_request_error")).items[0].app_id == other
        with pytest.raises(NotFoundError):
            await ledger.dead_letters.list(last_id=app)

        detail = await ledger.dead_letters.show(letter.message_id)
        assert (detail.letter, detail.reason) == (letter, "scripted failure: quota")
        (attempt,) = detail.attempts
        assert (attempt.outcome, attempt.detail) == ("failed", "scripted failure: quota")

        again = await ledger.dead_letters.replay(letter.message_id)
        assert again.conversation_id == letter.conversation_id
        facts = (await ledger.messages.events(again.message_id)).items
        assert (facts[0].context.actor.kind, facts[0].envelope.body.replayed_from) == ("operator", letter.message_id)
        async for _ in ledger.messages.follow(again.message_id):
            pass
        (closed,) = (await ledger.dead_letters.list(is_open=False)).items
        assert (closed.message_id, closed.replays) == (letter.message_id, (again.message_id,))

        running = await ledger.dead_letters.replay(again.message_id)
        with pytest.raises(NotFoundError):
            await ledger.dead_letters.show(app)
        async for _ in ledger.messages.follow(running.message_id):
            pass


async def test_a_replay_that_is_unfinished_is_not_doubled(tmp_path: Path) -> None:
    async with hosted(tmp_path) as ledger:
        app = await new_app(ledger, fail_as="invalid", first_token_ms=100, fail_after=1)
        with pytest.raises(GenerationFailedError) as failed:
            await ledger.messages.ask(app, "hello")
        first = await ledger.dead_letters.replay(failed.value.message_id)
        with pytest.raises(AlreadyReplayedError):
            await ledger.dead_letters.replay(failed.value.message_id)
        second = await ledger.dead_letters.replay(failed.value.message_id, force=True)
        detail = await ledger.dead_letters.show(failed.value.message_id)
        assert detail.letter.replays == (first.message_id, second.message_id)
