"""Which going is that of the last one."""

from typing import Any, cast
from uuid import UUID

import msgspec
import pytest

from chatledger.application.caller import Auditor, Caller
from chatledger.application.commands.disconnecting import Disconnecting
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.views import AppView
from tests.domain.facts import asked

MESSAGE = UUID(int=7)
CALLER = Caller(app=cast("AppView", None), user="ada", correlation_id=UUID(int=8))
AUDITOR = Auditor(operator_id=None, correlation_id=UUID(int=8))


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
        pytest.param("+a .a +a -a", 1, id="who was cut off sends again, and goes"),
        pytest.param("~f -f", 0, id="somebody only looks at it"),
        pytest.param("+a ~f -a", 0, id="the sender goes, and somebody still follows"),
        pytest.param("+a ~f -a -f", 1, id="the sender goes, and then the follower"),
        pytest.param("~f +a -a -f", 1, id="a sender comes to a follower, and both go"),
        pytest.param("+a ~f .f -a", 0, id="a follower is cut off and may come back"),
        pytest.param("+a .a ~f -f", 0, id="the sender is cut off, and somebody looks at it"),
        pytest.param("+a -a ~f -f", 1, id="somebody looks at what was stopped"),
        pytest.param("?o -o", 0, id="an operator looks at it"),
        pytest.param("+a ?o -a", 1, id="an operator keeps nothing going"),
        pytest.param("+a ?o .o -a", 1, id="an operator is cut off"),
        pytest.param("+a ?o -o .a", 0, id="an operator goes, and the sender has seen the end"),
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
            case "~":
                connections[who] = disconnecting.connect_follower(created(wish), CALLER)
            case "?":
                connections[who] = disconnecting.connect_follower(created(wish), AUDITOR)
            case "-":
                await connections[who].lose()
            case _:
                connections[who].end()
    assert stopping.asked == [("disconnect", MESSAGE)] * (stops if wish == "stop" else 0)
    assert len(disconnecting._audiences) == (course in ("+a +b -a", "+a ~f -a") and wish == "stop")


async def test_whoever_cannot_be_told_is_told_nothing(caplog):
    disconnecting = Disconnecting(Stops(RuntimeError("a secret")))
    await disconnecting.connect(created("stop")).lose()
    assert "goes on though nobody waits" in caplog.text
    assert "a secret" not in caplog.text
