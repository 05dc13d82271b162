"""The code of docs/projections.md does what the page says."""

import re
from pathlib import Path

import sqlalchemy as sa

from tests.application.chat import open_chat

PAGE = Path(__file__).resolve().parents[2] / "docs" / "projections.md"


def definitions() -> dict:
    """What the page's blocks define: those that are whole modules."""
    defined: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if block.startswith(("import", "from")):
            exec(compile(block, PAGE.name, "exec"), defined)
    return defined


async def test_the_pages_projection_and_handler_follow(tmp_path, capsys):
    page = definitions()
    options = {"projections": [page["Usage"]()], "handlers": [page["cheers"]]}
    async with open_chat(tmp_path, **options) as chat:
        messages = [await chat.answered("tokens=3") for _ in range(2)]
        await chat.application.rating.rate(chat.caller(), messages[0].message_id, "like", None)
        for subscription in chat.running.subscriptions:
            await subscription.caught_up()
        rows = await chat.running.reader.query(lambda c: c.execute(sa.select(page["usage"])).all())
        assert [tuple(row) for row in rows] == [(chat.app.app_id, 2)]
        assert capsys.readouterr().out == f"somebody liked {messages[0].message_id}\n"
        await chat.running.subscriptions.rebuild("shop-usage")
        await chat.running.subscriptions["shop-usage"].caught_up()
        rows = await chat.running.reader.query(lambda c: c.execute(sa.select(page["usage"])).all())
        assert [tuple(row) for row in rows] == [(chat.app.app_id, 2)]
