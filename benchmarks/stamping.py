"""``chatledger serve`` whose scripted generator writes into each token when it was due.

Everything but the words is the product: only the generator's own clock can tell what delay is added to a token.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator

from chatledger.adapters.cli.main import main
from chatledger.adapters.generator.app_settings import read_settings
from chatledger.adapters.generator.scripted import ScriptedGenerator, ScriptedSettings
from chatledger.application.ports.generator import Finish, GenerationRequest, Part, Text, TokenCount


async def generate(_: ScriptedGenerator, request: GenerationRequest) -> AsyncGenerator[Part, None]:
    """Each token at its time, with that time in it."""
    script = read_settings(ScriptedSettings, request.settings)
    due = time.monotonic()
    for _number in range(script.tokens):
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        yield Text(f"m{due * 1e6:.0f} ")
        due += script.interval_ms / 1000
    yield TokenCount(0, script.tokens)
    yield Finish("stop")


if __name__ == "__main__":
    ScriptedGenerator.generate = generate
    sys.exit(main())
