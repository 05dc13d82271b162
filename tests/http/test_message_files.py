"""Files that go with a message, over a socket."""

import uuid
from base64 import b64decode
from typing import Any

import httpx
import pytest

from tests.http.test_files import PNG, assert_error, fetch, uploaded
from tests.support.databases import ON_SQLITE
from tests.support.fake_openai import FakeOpenAI, answer
from tests.support.server import LiveServer, chat_body, events_of

TEXT = b"What was agreed on: nothing.\n" * 10
REMOTE = "https://pictures.example.org/albums/a%20cat.jpg?size=1"


async def new_chat(server: LiveServer, *, mode: str = "chat", form: Any = (), **upload: Any) -> httpx.AsyncClient:
    configuration = {
        "generator": "scripted",
        "settings": {"tokens": 1},
        "user_input_form": form,
        "file_upload": {"enabled": True, "kinds": [], "number_limits": 3} | upload,
    }
    return server.client(await server.new_key(mode, configuration=configuration))


def local(file: dict[str, Any], kind: str = "image", **more: Any) -> dict[str, Any]:
    return {"type": kind, "transfer_method": "local_file", "upload_file_id": file["id"]} | more


def remote(url: str = REMOTE, kind: str = "image") -> dict[str, Any]:
    return {"type": kind, "transfer_method": "remote_url", "url": url}


async def send(client: httpx.AsyncClient, *files: Any, path: str = "chat", **more: Any) -> httpx.Response:
    return await client.post(f"/v1/{path}-messages", json=chat_body(files=list(files), **more))


async def message_of(client: httpx.AsyncClient, sent: httpx.Response) -> dict[str, Any]:
    assert sent.status_code == 200, sent.text
    read = await client.get(f"/v1/messages/{sent.json()['id']}")
    assert read.status_code == 200, read.text
    message: dict[str, Any] = read.json()
    return message


async def test_history_shows_the_files_of_a_message_with_links(server) -> None:
    chat = await new_chat(server)
    picture, text = await uploaded(chat), await uploaded(chat, TEXT, "notes.md")
    message = await message_of(chat, await send(chat, local(picture), local(text, "document"), remote()))

    stored, written, linked = message["message_files"]
    assert {name: value for name, value in stored.items() if name not in ("id", "url")} == {
        "filename": "a picture.png",
        "type": "image",
        "mime_type": "image/png",
        "size": len(PNG),
        "transfer_method": "local_file",
        "belongs_to": "user",
        "upload_file_id": picture["id"],
    }
    assert (await fetch(server.client(), stored["url"])).content == PNG
    assert (written["type"], written["mime_type"], written["filename"]) == ("document", "text/plain", "notes.md")
    assert (linked["url"], linked["filename"], linked["upload_file_id"], linked["size"]) == (
        REMOTE, "a cat.jpg", None, None,
    )  # fmt: skip
    assert len({uuid.UUID(file["id"]) for file in message["message_files"]}) == 3


async def test_a_preview_is_there_once_a_message_shows_the_file(server) -> None:
    chat = await new_chat(server)
    picture = await uploaded(chat)
    path = f"/v1/files/{picture['id']}/preview"
    assert_error(await chat.get(path), 404, "file_not_found")
    await send(chat, local(picture))

    shown = await chat.get(path, params={"user": "somebody else"})
    head = await chat.head(path)
    saved = await chat.get(path, params={"as_attachment": "true"})

    assert (shown.status_code, shown.content, shown.headers["content-type"]) == (200, PNG, "image/png")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(PNG)))
    assert shown.headers["cache-control"] == "private, max-age=3600"
    assert (saved.content, saved.headers["content-type"]) == (PNG, "application/octet-stream")
    assert saved.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20picture.png"
    assert_error(await chat.get(path, params={"as_attachment": "perhaps"}), 400, "invalid_param", "as_attachment")
    assert_error(await (await new_chat(server)).get(path), 403, "file_access_denied")


async def test_previews_and_links_end_with_the_last_conversation_that_shows_the_file(server) -> None:
    chat = await new_chat(server)
    picture = await uploaded(chat)
    path = f"/v1/files/{picture['id']}/preview"
    conversations = [(await send(chat, local(picture), local(picture))).json()["conversation_id"] for _ in range(2)]
    for conversation_id in conversations:
        assert (await chat.get(path)).status_code == 200
        deleted = await chat.request("DELETE", f"/v1/conversations/{conversation_id}", json={"user": "ada"})
        assert deleted.status_code == 204
    assert_error(await chat.get(path), 404, "file_not_found")
    assert_error(await fetch(server.client(), picture["source_url"]), 404, "file_not_found")
    assert (await send(chat, local(picture))).status_code == 200
    assert (await chat.get(path)).status_code == 200
    assert (await fetch(server.client(), picture["source_url"])).content == PNG


async def test_the_end_of_a_stream_names_the_files_and_its_replay_with_links_that_stay(server) -> None:
    chat = await new_chat(server)
    picture = await uploaded(chat)
    response = await send(chat, local(picture), remote(), response_mode="streaming")
    end = events_of(response.text)[-1]
    assert end["event"] == "message_end"
    stored, linked = end["files"]
    assert (await fetch(server.client(), stored["url"])).content == PNG
    assert {name: value for name, value in stored.items() if name != "url"} == {
        "related_id": picture["id"],
        "extension": "png",
        "filename": "a picture.png",
        "size": len(PNG),
        "mime_type": "image/png",
        "transfer_method": "local_file",
        "type": "image",
        "upload_file_id": picture["id"],
        "remote_url": None,
    }
    assert (linked["url"], linked["remote_url"], linked["extension"]) == (REMOTE, REMOTE, "jpg")

    replay = await chat.get(f"/v1/messages/{end['message_id']}/stream")
    again = await chat.get(f"/v1/messages/{end['message_id']}/stream")
    assert replay.text == again.text
    (stored, _) = events_of(replay.text)[-1]["files"]
    assert stored["url"] == f"/v1/files/{picture['id']}/preview"
    assert (await chat.get(stored["url"])).content == PNG


async def test_a_message_without_files_has_none(server) -> None:
    chat = await new_chat(server)
    assert (await message_of(chat, await send(chat)))["message_files"] == []
    response = await send(chat, response_mode="streaming")
    assert events_of(response.text)[-1]["files"] is None


async def test_an_app_that_takes_no_files_passes_over_them(server) -> None:
    chat = await new_chat(server, enabled=False)
    nonsense = {"type": "nothing", "upload_file_id": "no id"}
    message = await message_of(chat, await send(chat, nonsense, remote(), remote(), remote(), remote()))
    assert message["message_files"] == []


async def test_a_completion_takes_files_too(server) -> None:
    client = await new_chat(server, mode="completion")
    picture = await uploaded(client)
    sent = await send(client, local(picture), path="completion")
    assert [file["filename"] for file in (await message_of(client, sent))["message_files"]] == ["a picture.png"]


async def test_files_that_may_not_go_with_a_message(server) -> None:
    chat = await new_chat(server, kinds=["image", "custom"], transfer_methods=["local_file"], number_limits=2)
    picture, text = await uploaded(chat), await uploaded(chat, TEXT, "picture.png")
    bobs = await uploaded(chat, user="bob")
    other_app = await uploaded(await new_chat(server))
    for refused in [
        "text",
        {},
        local(picture, kind="nothing"),
        local(picture, transfer_method="carrier"),
        local(picture, upload_file_id="no id"),
        local(picture, upload_file_id=None),
        local(picture, upload_file_id=7),
        local(picture, upload_file_id=str(uuid.uuid4())),
        local(bobs),
        local(other_app),
        local(text, kind="document"),
        local(text, kind="image"),
        remote(),
    ]:
        assert_error(await send(chat, refused), 400, "invalid_param", "files")
        assert_error(await send(chat, local(picture), refused), 400, "invalid_param", "files")
    assert_error(await send(chat, *[local(picture)] * 3), 400, "invalid_param", "files")
    assert_error(await chat.post("/v1/chat-messages", json=chat_body(files={})), 400, "invalid_param", "files")
    assert (await chat.get("/v1/conversations", params={"user": "ada"})).json()["data"] == []
    assert (await send(chat, local(picture), local(text, kind="custom"))).status_code == 200
    assert len((await chat.get("/v1/conversations", params={"user": "ada"})).json()["data"]) == 1


async def test_somebody_else_s_file_is_as_unknown_as_none(server) -> None:
    chat = await new_chat(server)
    bobs = await uploaded(chat, user="bob")
    unknown, foreign = await send(chat, local({"id": str(uuid.uuid4())})), await send(chat, local(bobs))
    assert unknown.json() == foreign.json()


@ON_SQLITE
@pytest.mark.parametrize(
    "url",
    ["", "ftp://example.org/a.png", "file:///etc/passwd", "javascript:alert(1)", "https://", "http://[", "a.png", 7,
     "data:image/png;base64,AA==", "https://example.org/" + "a" * 5_000, "https://ada:secret@example.org/a.png",
     "https://example.org/a.png\r\nX: y", "https://example.org/a b.png", "https://example.org\\@evil.org/a.png",
     " https://example.org/a.png", "https://example.org/\u0085a.png"],
)  # fmt: skip
async def test_addresses_that_are_none_of_the_web(server, url: Any) -> None:
    chat = await new_chat(server)
    assert_error(
        await send(chat, {"type": "image", "transfer_method": "remote_url", "url": url}), 400, "invalid_param", "files"
    )


@ON_SQLITE
async def test_a_file_on_the_web_is_called_by_the_end_of_its_path_and_by_nothing_that_breaks_out(server) -> None:
    chat = await new_chat(server, number_limits=9)
    names = {
        "https://example.org/x%2f..%2f..%2fetc%2fpasswd": "passwd",
        "https://example.org/x%5c..%5cwin.ini": "win.ini",
        "https://example.org/a%0d%0aX-Y:%20z%2e%20.png": "aX-Y: z. .png",
        "https://example.org/a/%2e%2e": "example.org",
        "https://example.org?a=b": "example.org",
    }
    message = await message_of(chat, await send(chat, *[remote(url) for url in names]))
    assert {file["url"]: file["filename"] for file in message["message_files"]} == names


@ON_SQLITE
@pytest.mark.parametrize(
    "content",
    ["Name;Größe\r\nJürgen;1,80\r\n".encode("cp1252"), "Größe\n".encode("utf-16-le"), b"", b"PK\x03\x04" + bytes(40)],
)
async def test_what_the_bytes_do_not_tell_can_be_sent_as_a_document(server, content: bytes) -> None:
    chat = await new_chat(server, kinds=["document", "image"])
    file = await uploaded(chat, content, "a.csv")
    message = await message_of(chat, await send(chat, local(file, "document")))
    assert [file["type"] for file in message["message_files"]] == ["document"]
    assert_error(await send(chat, local(file, "image")), 400, "invalid_param", "files")


FORM = [
    {"variable": "photo", "type": "file", "allowed_file_types": ["image"], "required": True},
    {
        "variable": "papers",
        "type": "file-list",
        "max_length": 3,
        "allowed_file_types": ["document"],
        "allowed_file_extensions": [".md", "TXT"],
        "allowed_file_upload_methods": ["local_file"],
    },
]


async def test_files_as_values_of_inputs(server) -> None:
    chat = await new_chat(server, form=FORM, enabled=False)
    picture, notes, more = await uploaded(chat), await uploaded(chat, TEXT, "a.md"), await uploaded(chat, TEXT, "b.txt")
    papers = [local(notes, "document"), local(more, "document")]

    sent = await send(chat, inputs={"photo": local(picture), "papers": papers})
    message = await message_of(chat, sent)

    assert (message["inputs"]["photo"]["filename"], message["inputs"]["photo"]["type"]) == ("a picture.png", "image")
    assert [paper["filename"] for paper in message["inputs"]["papers"]] == ["a.md", "b.txt"]
    assert (await fetch(server.client(), message["inputs"]["photo"]["url"])).content == PNG
    assert (await chat.get(f"/v1/files/{picture['id']}/preview")).content == PNG
    assert message["message_files"] == []
    alone = await message_of(chat, await send(chat, inputs={"photo": local(picture)}))
    assert alone["inputs"]["papers"] is None


async def test_files_that_may_not_be_values_of_inputs(server) -> None:
    chat = await new_chat(server, form=FORM)
    picture, notes, script = (
        await uploaded(chat),
        await uploaded(chat, TEXT, "a.md"),
        await uploaded(chat, TEXT, "a.py"),
    )
    bobs = await uploaded(chat, user="bob")
    for inputs in [
        {"photo": "a.png"},
        {"photo": local(notes, "document")},
        {"photo": local(bobs)},
        {"photo": {}},
        {"photo": local(picture), "papers": local(notes, "document")},
        {"photo": local(picture), "papers": [local(script, "document")]},
        {"photo": local(picture), "papers": [remote("https://example.org/a.md", "document")]},
        {"photo": local(picture), "papers": [local(notes, "document")] * 4},
    ]:
        assert_error(await send(chat, inputs=inputs), 400, "invalid_param", "inputs")


@ON_SQLITE
async def test_a_value_that_is_no_file_is_told_by_the_name_of_its_variable(server) -> None:
    chat = await new_chat(
        server, form=[{"variable": "papers", "type": "file-list"}, {"variable": "photo", "type": "file"}]
    )
    picture = await uploaded(chat)
    for inputs, message in [
        ({"photo": {}}, "photo in input form must be a file"),
        ({"photo": local(picture, upload_file_id=7)}, "photo in input form must be a file"),
        ({"papers": [local(picture), {"type": "image"}]}, "papers in input form must be a list of files"),
        ({"papers": [local(picture, kind="audio")]}, "papers in input form: the file is of type image, not audio"),
    ]:
        response = await send(chat, inputs=inputs)
        assert_error(response, 400, "invalid_param", "inputs")
        assert response.json()["message"] == message


async def test_an_object_that_looks_like_a_file_is_none(server) -> None:
    """What a person writes into a JSON object brings nobody's file to light."""
    form = [{"variable": "free", "type": "json_object"}, {"variable": "photo", "type": "file"}]
    chat = await new_chat(server, form=form)
    bobs, own = await uploaded(chat, user="bob"), await uploaded(chat)
    forged = {"file_id": bobs["id"], "upload_file_id": bobs["id"], "transfer_method": "local_file", "kind": "image"}
    message = await message_of(chat, await send(chat, inputs={"free": forged, "photo": local(own)}))
    assert message["inputs"]["free"] == forged
    assert message["inputs"]["photo"]["upload_file_id"] == own["id"]


# On their way to a model


async def test_a_model_is_given_what_was_uploaded(server) -> None:
    async with FakeOpenAI(answer("Seen.")) as provider:
        configuration = {
            "generator": "openai_compatible",
            "settings": {"model": "m", "base_url": provider.base_url},
            "user_input_form": [{"variable": "paper", "type": "file"}],
            "file_upload": {"enabled": True, "kinds": [], "detail": "low"},
        }
        chat = server.client(await server.new_key(configuration=configuration))
        picture, text = await uploaded(chat), await uploaded(chat, TEXT, "notes.md")

        inputs = {"paper": local(text, "document")}
        sent = await send(chat, local(picture), remote(), inputs=inputs, auto_generate_name=False)

        assert sent.json()["answer"] == "Seen."
        question, stored, linked, written = (await provider.asked()).body["messages"][-1]["content"]
    assert question == {"type": "text", "text": "hello"}
    assert stored["image_url"]["detail"] == "low"
    assert b64decode(stored["image_url"]["url"].removeprefix("data:image/png;base64,")) == PNG
    assert linked["image_url"]["url"] == REMOTE
    assert written["text"] == f"notes.md:\n\n{TEXT.decode()}"


async def test_a_model_that_cannot_take_a_file_says_so(server) -> None:
    async with FakeOpenAI() as provider:
        configuration = {
            "generator": "openai_compatible",
            "settings": {"model": "m", "base_url": provider.base_url},
            "file_upload": {"enabled": True, "kinds": []},
        }
        chat = server.client(await server.new_key(configuration=configuration))
        pdf = await uploaded(chat, b"%PDF-1.7\n%\xe2\xe3\n" + bytes(10), "a.pdf")
        response = await send(chat, local(pdf, "document"), auto_generate_name=False)
        assert_error(response, 400, "completion_request_error")
        assert "a.pdf" in response.json()["message"]
        assert provider.requests == []


# With a passport


async def test_a_visitor_s_files_are_for_nobody_else_but_by_a_link(server) -> None:
    uploads = {"file_upload": {"enabled": True}, "generator": "scripted", "settings": {"tokens": 1}}
    app = await server.new_app(configuration=uploads)
    ada, bob = await server.new_visitor(app.site_code), await server.new_visitor(app.site_code)
    made = await ada.post("/api/files/upload", files={"file": ("a.png", PNG, "image/png")}, data={"user": "bob"})
    assert made.status_code == 201
    given = {"inputs": {}, "query": "What is it?", "files": [local(made.json())]}
    assert_error(await bob.post("/api/chat-messages", json=given), 400, "invalid_param", "files")
    message_id = (await ada.post("/api/chat-messages", json=given)).json()["id"]

    replay = events_of((await ada.get(f"/api/messages/{message_id}/stream")).text)
    preview = replay[-1]["files"][0]["url"]

    assert preview == f"/api/files/{made.json()['id']}/preview"
    assert (await ada.get(preview)).content == PNG
    assert_error(await bob.get(preview), 404, "file_not_found")
    assert (await fetch(bob, made.json()["source_url"])).content == PNG
    assert (await server.client(app.api_key).get(preview.replace("/api/", "/v1/"))).content == PNG
