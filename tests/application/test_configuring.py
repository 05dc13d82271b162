"""Orders at the command line that change an app beside other changes of it."""

import asyncio

import msgspec

from chatledger.adapters.cli.orders import ConfigureApp, Orders, ServerInfo
from chatledger.domain.app import App
from tests.application.chat import Chat


async def describe(chat: Chat, description: str) -> None:
    def decide(staged):
        app = staged.aggregate
        app.configure(msgspec.structs.replace(app.configuration, description=description))

    await chat.running.ledger.decide(App, chat.app.app_id, decide, chat.caller().context(None))


async def test_an_order_undoes_no_change_that_comes_while_it_is_carried_out(open_chat):
    async with open_chat(with_worker=False) as chat:
        orders = Orders(chat.running, ServerInfo(1, "", "1"))
        for tokens in range(1, 6):
            order = ConfigureApp(app_id=chat.app.app_id, change={"tokens": tokens})
            done, _ = await asyncio.gather(
                orders.carry_out(order, lambda *_: None), describe(chat, f"one with {tokens} tokens")
            )
            assert done.configuration["settings"]["tokens"] == tokens
            configuration = (await chat.application.views.app(chat.app.app_id)).configuration
            assert (configuration.settings["tokens"], configuration.description) == (
                tokens,
                f"one with {tokens} tokens",
            )
