"""A sender that is loaded by the first who needs it, or is not there."""

import pytest

from chatledger.adapters.webhooks.loaded_when_used import NOT_INSTALLED, LoadedWhenUsed
from chatledger.adapters.webhooks.sender import HttpWebhookSender
from chatledger.application.ports.webhooks import AddressRefusedError
from chatledger.application.system_clock import SystemClock
from tests.webhooks.conftest import QUICK


async def test_where_its_package_is_missing_nothing_is_sent_and_the_reason_says_what_to_install():
    sender = LoadedWhenUsed("chatledger.nowhere", "no_such_package", lambda: HttpWebhookSender(SystemClock()))
    for doing in (sender.require_allowed("https://8.8.8.8/"), sender.send("https://8.8.8.8/", {}, b"{}")):
        with pytest.raises(AddressRefusedError, match="chatledger\\[webhooks\\]"):
            await doing
    assert NOT_INSTALLED.endswith("chatledger[webhooks]")
    await sender.close()


async def test_it_is_loaded_once(receiver):
    made = []

    def make() -> HttpWebhookSender:
        made.append(HttpWebhookSender(SystemClock(), allowed=QUICK["webhook_allowed_networks"]))
        return made[-1]

    sender = LoadedWhenUsed("chatledger.adapters.webhooks.sender", "httpcore2", make)
    for _ in range(2):
        assert (await sender.send(receiver.url, {}, b"{}")).is_success
    await sender.close()
    assert len(made) == 1
