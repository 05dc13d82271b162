"""chatledger in a program of your own: an app, a question, the answer as it comes, and all of it read back.

Run it twice: the second run finds what the first one has written.

    pip install chatledger
    python plain_asyncio.py chat-data
"""

import asyncio
import sys
from pathlib import Path
from uuid import UUID

from chatledger import (
    AnswerChunkAppended,
    AppConfiguration,
    Chatledger,
    MessageErrored,
    Settings,
)


async def main(folder: Path) -> None:
    async with Chatledger.open(Settings(data_dir=folder)) as ledger:
        app = await find_or_create_app(ledger)

        sent = await ledger.messages.send(app, user="ann", query="How do I stop an answer?")
        print(await show_as_it_comes(ledger, sent.message_id))

        again = await ledger.messages.ask(
            app, user="ann", query="What is a ledger?", conversation_id=sent.conversation_id
        )
        print(f"\n{len(again.text)} characters, {again.end.usage.completion_tokens} tokens, all at once")

        for conversation in (await ledger.conversations.list(app, user="ann")).items:
            history = await ledger.messages.history(app, conversation.conversation_id, user="ann")
            print(f"{conversation.name!r}: {len(history.items)} messages")


async def find_or_create_app(ledger: Chatledger) -> UUID:
    for app in await ledger.apps.list():
        return app.app_id
    # Answers from documents, without a network and without a key; without a folder, from chatledger's own.
    configuration = AppConfiguration(generator="extractive")
    return (await ledger.apps.create("chat", "Helper", configuration)).app_id


async def show_as_it_comes(ledger: Chatledger, message_id: UUID) -> str:
    """The answer. What is shown is committed; the first text of another attempt takes the place of all before it."""
    answer, attempt = "", 0
    async for event in ledger.messages.follow(message_id):
        match event.body:
            case AnswerChunkAppended(attempt=newest, text=text):
                answer = answer + text if newest == attempt else text
                attempt = newest
                print(f"version {event.version}: {len(answer)} characters")
            case MessageErrored(code=code):
                print(f"failed: {code}")
    return answer


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
