"""Which going is that of the last one."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from chatledger.application.commands.disconnecting import Disconnecting
from chatledger.application.ledger.envelope import Envelope
from tests.domain.facts import asked

MESSAGE = UUID(int=7)


class Stops:
    """What was asked to end, and what cannot be."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[str, UUID]] = []
        self._error = error

    async def stop_for(self, reason: str, message_id: UUID) -> None:
        self.asked.append((reason, message_id))
        if self._error:
            raise self._error


def created(on_disconnect: str) -> Any:
    fields = dict.fromkeys(Envelope.__struct_fields__)
    body = msgspec.structs.replace(asked, on_disconnect=on_disconnect)
    return Envelope(**fields | {"stream_id": MESSAGE, "body": body})


@pytest.mark.parametrize(
    ("course", "stops"),
    [
        pytest.param("+a -a", 1, id="the only one goes"),
        pytest.param("+a .a", 0, id="the only one has seen the end, or is cut off"),
        pytest.param("+a +b -a", 0, id="one of two goes"),
        pytest.param("+a +b -a -b", 1, id="both go"),
        pytest.param("+a -a +b -b", 2, id="one after the other"),
        pytest.param("+a +b .a -b", 0, id="one is cut off and may come back"),
        pytest.param("+a +b -a .b", 0, id="the last one is cut off"),
        pytest.param("+a +b .a +c -b -c", 0, id="one is cut off, and others come and go"),
        pytest.param("+a .a +a -a", 1, id="who was cut off comes back, and goes"),
    ],
)
@pytest.mark.parametrize("wish", ["stop", "continue"])
async def test_the_last_one_who_goes(wish, course, stops):
    stopping = Stops()
    disconnecting = Disconnecting(stopping)
    connections = {}
    for what, who in map(tuple, course.split()):
        match what:
            case "+":
                connections[who] = disconnecting.connect(created(wish))
            case "-":
                await connections[who].lose()
            case _:
                connections[who].end()
    assert stopping.asked == [("disconnect", MESSAGE)] * (stops if wish == "stop" else 0)
    assert len(disconnecting._audiences) == (course == "+a +b -a" and wish == "stop")


async def test_whoever_cannot_be_told_is_told_nothing(caplog):
    disconnecting = Disconnecting(Stops(RuntimeError("a secret")))
    await disconnecting.connect(created("stop")).lose()
    assert "goes on though nobody waits" in caplog.text
    assert "a secret" not in caplog.text
