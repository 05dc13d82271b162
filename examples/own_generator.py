"""A generator of the host's own: it may call whatever the host has, and chatledger takes care of the rest.

To run it:

    pip install chatledger
    python own_generator.py chat-data
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from chatledger import (
    AppConfiguration,
    Chatledger,
    Finish,
    GenerationRequest,
    GeneratorError,
    Part,
    Settings,
    SettingsError,
    Text,
    TokenCount,
)


class Calculator:
    """Adds up the numbers of the question, and those of the questions before it."""

    name = "calculator"
    repeatable = True
    """After a crash it may be asked again: it changes nothing."""

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        for name, value in settings.items():
            if name != "unit":
                raise SettingsError(f"{name}: the calculator has no such setting")
            if not isinstance(value, str):
                raise SettingsError("unit: must be a string")

    def settings_for(self, query: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return settings

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Part, None]:
        total, words = 0, 0
        for query in [*(exchange.query for exchange in await request.history()), request.query]:
            for word in query.split():
                words += 1
                if word.isdecimal():
                    total += int(word)
        if "flaky" in request.query and request.attempt == 1:
            # Such a failure is tried again, as long as no text has come.
            raise GeneratorError("transient", "the abacus is busy")
        yield Text("That makes ")
        await asyncio.sleep(0.1)  # a real one waits for its provider here; the text before is on the ledger already
        yield Text(f"{total} {request.settings.get('unit', '')}".strip())
        yield TokenCount(words, 2)
        yield Finish("stop")

    async def close(self) -> None:
        print("the calculator is put away")


async def main(folder: Path) -> None:
    settings = Settings(data_dir=folder, first_retry_delay=0.1)
    async with Chatledger.open(settings, generators=[Calculator()]) as ledger:
        configuration = AppConfiguration(generator="calculator", settings={"unit": "apples"})
        app = (await ledger.apps.create("chat", "Calculator", configuration)).app_id
        first = await ledger.messages.ask(app, user="ann", query="2 and 3")
        print(first.text)
        second = await ledger.messages.ask(
            app, user="ann", query="and, flaky as you are, 4 more", conversation_id=first.conversation_id
        )
        task = await ledger.tasks.get(second.task_id)
        print(f"{second.text}, in {task.attempt} attempts")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
