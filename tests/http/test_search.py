"""Finding messages by what was said in them."""

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from chatledger.adapters.persistence.views.ended import SqlEndedMessageViews
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ports.storage import Update
from chatledger.application.search.tokens import indexed_tokens
from tests.support.chatting import ask, complete
from tests.support.databases import ON_SQLITE
from tests.support.server import LiveServer, a_context, until

SKY = "为什么天空是蓝色的?"


async def search(client: httpx.AsyncClient, q: str, **more: Any) -> dict[str, Any]:
    response = await client.get("/v1/search", params={"q": q, "limit": 100} | more)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


async def found(client: httpx.AsyncClient, q: str, **more: Any) -> list[str]:
    return [hit["message_id"] for hit in (await search(client, q, **more))["data"]]


async def finds(client: httpx.AsyncClient, q: str, *message_ids: str, **more: Any) -> None:
    """Sooner or later, and exactly these, newest first."""

    async def is_so() -> bool:
        return await found(client, q, **more) == list(message_ids)

    await until(is_so)


async def person_of(server: LiveServer, message_id: str) -> UUID:
    view = await server.running.application.views.message(UUID(message_id))
    assert view is not None
    return view.end_user_id


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(text="The answer is forty-two.")


async def test_a_message_is_found_by_question_and_by_answer_once_it_is_over(chat):
    first = await ask(chat, "Why is the sky blue?")
    second = await ask(chat, SKY)
    await finds(chat, "sky", first["message_id"])
    await finds(chat, "天空", second["message_id"])
    await finds(chat, "空", second["message_id"])
    await finds(chat, '"answer is" forty', second["message_id"], first["message_id"])
    assert await found(chat, "天蓝") == []
    assert await found(chat, '"blue sky"') == []
    assert await found(chat, "blue SKY") == [first["message_id"]]

    (hit,) = (await search(chat, "sky answer"))["data"]
    assert hit["conversation_id"] == first["conversation_id"]
    assert hit["query"] == [{"text": "Why is the sky blue?", "highlights": [[11, 14]]}]
    assert hit["answer"] == [{"text": "The answer is forty-two.", "highlights": [[4, 10]]}]
    (hit,) = (await search(chat, "天空"))["data"]
    assert [SKY[slice(*place)] for passage in hit["query"] for place in passage["highlights"]] == ["天空"]


async def test_each_finds_what_is_theirs(server, chat):
    anns = (await ask(chat, "about planets", user="ann"))["message_id"]
    bobs = (await ask(chat, "about planets too", user="bob"))["message_id"]
    other = await server.new_client(text="ok")
    others = (await ask(other, "planets elsewhere", user="ann"))["message_id"]
    await finds(chat, "planets", bobs, anns)
    await finds(other, "planets", others)
    assert await found(chat, "planets", user="ann") == [anns]
    assert await found(chat, "planets", user="bob") == [bobs]
    assert await found(chat, "planets", user="nobody") == []
    app_id = str((await server.running.application.views.message(UUID(anns))).app_id)
    assert await found(chat, "planets", app_id=app_id) == [bobs, anns]
    elsewhere = await other.get("/v1/search", params={"q": "planets", "app_id": app_id})
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "not_found")


async def test_a_message_that_cannot_be_opened_is_passed_over(serve, caplog):
    async with serve(search=False) as server:
        chat, running = await server.new_client(tokens=1), server.running
        broken, sound = [UUID((await ask(chat, text))["message_id"]) for text in ("one", "another")]
        change = Update("messages", {"message_id": broken}, {"question": b"no such thing"})

        def damage() -> None:
            with running.store.write() as transaction:
                transaction.apply([change])

        await running.writer.run_alone(damage)
        ended = await SqlEndedMessageViews(running.reader, RowSeals(running.ledger.keyring)).ended_after(0)
        assert [view.message_id for view in ended.messages] == [sound]
        assert [str(broken) in record.message for record in caplog.records if "ended" in record.name] == [True]


async def test_completions_are_found_and_deleted_conversations_by_operators_alone(server, chat):
    poet = await server.new_client("completion")
    poem = (await complete(poet, query="/script text='roses are red'"))["message_id"]
    await finds(poet, "roses", poem)
    gone = await ask(chat, "about comets", user="ada")
    await finds(chat, "comets", gone["message_id"])
    deleted = await chat.request("DELETE", f"/v1/conversations/{gone['conversation_id']}", json={"user": "ada"})
    assert deleted.status_code == 204
    assert await found(chat, "comets") == []
    auditor = server.client(await server.new_token("audit"))
    app_id = str((await server.running.application.views.message(UUID(gone["message_id"]))).app_id)
    assert await found(auditor, "comets", app_id=app_id) == [gone["message_id"]]


async def test_an_operators_search_is_on_record_and_not_what_they_looked_for(server, chat):
    message_id = (await ask(chat, "about galaxies", user="ann"))["message_id"]
    await finds(chat, "galaxies", message_id)
    view = await server.running.application.views.message(UUID(message_id))
    auditor = server.client(await server.new_token("audit"))
    now = (await auditor.get("/v1/events", params={"after": "now"})).json()["cursor"]
    assert await found(auditor, "galaxies", app_id=str(view.app_id)) == [message_id]
    assert await found(auditor, "galaxies", app_id=str(view.app_id), user="ann") == [message_id]
    feed = (await auditor.get("/v1/events", params={"types": "ContentRead", "limit": 100, "after": now})).json()["data"]
    read = [(event["data"]["subject"], event["data"]["subject_id"]) for event in feed]
    assert ("app", str(view.app_id)) in read
    assert ("end_user", str(view.end_user_id)) in read
    assert "galaxies" not in str([event["data"] for event in feed])

    assert (await auditor.get("/v1/search", params={"q": "x"})).json()["params"] == "app_id"
    operating = server.client(await server.new_token("operate", "erase"))
    refused = await operating.get("/v1/search", params={"q": "x", "app_id": str(view.app_id)})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    nowhere = await auditor.get("/v1/search", params={"q": "x", "app_id": "00000000-0000-4000-8000-000000000000"})
    assert nowhere.status_code == 404


async def test_pages_lead_on_to_each_message_once(server):
    chat = await server.new_client(text="Saturn")
    sent = [(await ask(chat, f"ring {number}"))["message_id"] for number in range(7)]
    await finds(chat, "saturn", *reversed(sent))
    pages, cursor = [], None
    while cursor is not None or not pages:
        page = await search(chat, "saturn", limit=3, **({} if cursor is None else {"cursor": cursor}))
        assert page["has_more"] is (page["cursor"] is not None)
        pages.append([hit["message_id"] for hit in page["data"]])
        cursor = page["cursor"]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [one for page in pages for one in page] == sent[::-1]


async def test_a_request_that_has_looked_at_much_leads_on(server, monkeypatch):
    chat = await server.new_client(text="Saturn")
    sent = [(await ask(chat, f"ring {number}"))["message_id"] for number in range(3)]
    await finds(chat, "saturn", *reversed(sent))
    monkeypatch.setattr("chatledger.application.queries.searching.MOST_CHARACTERS", 15)
    page = await search(chat, "saturn")
    assert ([hit["message_id"] for hit in page["data"]], page["has_more"]) == (sent[:0:-1], True)
    assert await found(chat, "saturn", cursor=page["cursor"]) == sent[:1]


async def test_long_messages_are_read_for_the_index_a_few_at_a_time(server, chat, monkeypatch):
    position, pages, is_full = server.running.ledger.head_position, [], True
    sent = [(await ask(chat, f"ring {number}"))["message_id"] for number in range(3)]
    views = server.running.application.searching._indexer._views
    monkeypatch.setattr("chatledger.adapters.persistence.views.ended.MOST_BYTES", 1)
    while is_full:
        ended = await views.ended_after(position)
        assert ended.end > position
        position, is_full = ended.end, ended.is_full
        pages.append([str(view.message_id) for view in ended.messages])
    assert pages == [[each] for each in sent]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "q"),
        ({"q": "?!"}, "q"),
        ({"q": "x" * 201}, "q"),
        ({"q": " ".join(f"w{number}" for number in range(17))}, "q"),
        ({"q": "x", "limit": "0"}, "limit"),
        ({"q": "x", "limit": "101"}, "limit"),
        ({"q": "x", "cursor": "7"}, "cursor"),
        ({"q": "x", "cursor": "n-1"}, "cursor"),
        ({"q": "x", "app_id": "elsewhere"}, "app_id"),
    ],
)
async def test_what_cannot_be_sought_is_refused_by_name(chat, params, field):
    refused = await chat.get("/v1/search", params=params)
    assert refused.status_code == 400, refused.text
    assert refused.json()["params"] == field


async def test_of_an_erased_person_nothing_is_found_nor_left_in_the_index(server, chat):
    erased = (await ask(chat, "about the secret meteor", user="eve"))["message_id"]
    kept = (await ask(chat, "about a meteor", user="fay"))["message_id"]
    await finds(chat, "meteor", kept, erased)
    application = server.running.application
    end_user_id = await person_of(server, erased)
    await application.erasing.request(end_user_id, a_context())
    erasure = await application.erasing.until_done(end_user_id, 30)
    assert erasure.erased_position is not None
    assert application.searching._indexer.terms._term.cache_info().currsize == 0, "no word is remembered"
    assert await found(chat, "meteor") == [kept]
    indexer = application.searching._indexer
    app_id = (await application.views.message(UUID(kept))).app_id
    for word in ("secret", "meteor"):
        terms = indexer.terms.asked(app_id, None, [word])
        left = [each.message_id for each in await indexer.index.find(terms, None, 100)]
        assert UUID(erased) not in left


async def test_an_index_is_caught_up_after_a_restart_and_discarded_where_none_is_wanted(serve):
    async with serve(search=False) as server:
        key = await server.new_key(text="Pluto")
        chat = server.client(key)
        message_id = (await ask(chat, "a dwarf"))["message_id"]
        off = await chat.get("/v1/search", params={"q": "dwarf"})
        assert (off.status_code, off.json()["code"]) == (501, "search_disabled")
    async with serve() as server:
        await finds(server.client(key), "dwarf pluto", message_id)
    async with serve(search=False) as server:
        assert (await server.client(key).get("/v1/search", params={"q": "dwarf"})).status_code == 501
    async with serve() as server:
        await finds(server.client(key), "dwarf", message_id)


@ON_SQLITE
async def test_the_index_holds_no_word(serve, tmp_path: Path):
    async with serve() as server:
        chat = await server.new_client(text="Andromeda 帳簿")
        message_id = (await ask(chat, "Cassiopeia"))["message_id"]
        await finds(chat, "Cassiopeia Andromeda 帳簿", message_id)
        files = [file for file in (tmp_path / "data").rglob("search*") if file.is_file()]
        assert files
        written = b"".join(file.read_bytes() for file in files)
        assert UUID(message_id).bytes in written
        for token in indexed_tokens("Cassiopeia Andromeda 帳簿"):
            assert token.encode() not in written.lower(), token
