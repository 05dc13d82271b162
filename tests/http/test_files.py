"""Files over a socket: on their way in, and out again."""

import asyncio
import random
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.support.databases import ON_SQLITE
from tests.support.s3 import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server
from tests.support.server import LiveServer, a_context, live_server, until

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + random.Random(1).randbytes(100)
MEGABYTE = 1024 * 1024
BOUNDARY = "a-boundary"


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(tokens=2)


async def upload(
    client: httpx.AsyncClient, content: bytes = PNG, name: str = "a picture.png", user: str | None = "ada"
) -> httpx.Response:
    data = {} if user is None else {"user": user}
    return await client.post("/v1/files/upload", files={"file": (name, content, "image/png")}, data=data)


async def uploaded(client: httpx.AsyncClient, *given: Any, **more: Any) -> dict[str, Any]:
    response = await upload(client, *given, **more)
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def part(disposition: str, content: bytes, content_type: str | None = "image/png") -> bytes:
    kind = b"" if content_type is None else f"Content-Type: {content_type}\r\n".encode()
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n".encode()
    return head + kind + b"\r\n" + content + b"\r\n"


async def post_form(client: httpx.AsyncClient, *parts: bytes) -> httpx.Response:
    return await client.post(
        "/v1/files/upload",
        content=b"".join(parts) + f"--{BOUNDARY}--\r\n".encode(),
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )


async def fetch(client: httpx.AsyncClient, link: str, **headers: str) -> httpx.Response:
    """A link as anybody would follow it: without a credential."""
    parts = urlsplit(link)
    return await client.get(f"{parts.path}?{parts.query}", headers=headers)


def stored_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "files").rglob("*") if path.is_file()]


def assert_error(response: httpx.Response, status: int, code: str, params: str | None = None) -> None:
    body = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code), response.text
    assert body.get("params") == params


# On the way in


async def test_an_upload_tells_what_it_is_by_its_bytes(chat) -> None:
    response = await chat.post(
        "/v1/files/upload", files={"file": ("notes.TXT", PNG, "text/plain")}, data={"user": "ada"}
    )

    body = response.json()
    assert response.status_code == 201
    assert (body["name"], body["extension"], body["mime_type"], body["size"]) == (
        "notes.TXT", "txt", "image/png", len(PNG),
    )  # fmt: skip
    assert uuid.UUID(body["id"]) != uuid.UUID(body["created_by"])
    assert isinstance(body["created_at"], int)
    nothing = {name for name, value in body.items() if value is None}
    assert nothing == {"preview_url", "reference", "original_url", "user_id", "conversation_id", "file_key"}


async def test_the_user_may_stand_behind_the_file_and_be_left_out(chat) -> None:
    file = part('name="file"; filename="a.png"', PNG)
    before = await uploaded(chat)
    behind = await post_form(chat, file, part('name="user"', b"ada", None))
    nobody = await post_form(chat, file)
    assert behind.json()["created_by"] == before["created_by"]
    assert nobody.json()["created_by"] != before["created_by"]


@ON_SQLITE
async def test_what_a_form_can_lack_or_have_too_much_of(chat) -> None:
    user = part('name="user"', b"ada", None)
    file = part('name="file"; filename="a.png"', PNG)
    assert_error(await post_form(chat, user), 400, "no_file_uploaded")
    assert_error(await post_form(chat, user, part('name="file"', PNG)), 400, "no_file_uploaded")
    assert_error(await post_form(chat, user, part('name="other"; filename="a.png"', PNG)), 400, "no_file_uploaded")
    assert_error(await post_form(chat, file, user, file), 400, "too_many_files")
    assert_error(await post_form(chat, file, part('name="b"; filename="b.png"', PNG)), 400, "too_many_files")
    assert_error(
        await post_form(chat, user, part('name="file"; filename="a.png"', PNG, None)), 415, "unsupported_file_type"
    )
    assert_error(await post_form(chat, user, part('name="file"; filename=""', PNG)), 400, "filename_not_exists_error")
    assert_error(await post_form(chat, file, part('name="user"', b"a" * 256, None)), 400, "invalid_param", "user")


@ON_SQLITE
@pytest.mark.parametrize(
    ("filename", "reason"),
    [
        ("../../a.png", "Filename contains invalid characters"),
        (r"a\\b.png", "Filename contains invalid characters"),
        ("a/b.png", "Filename contains invalid characters"),
        (".", "Filename contains invalid characters"),
        (". .\u00a0", "Filename contains invalid characters"),
        ("a\u0085.png", "Filename contains invalid characters"),
        ("a\u2028.png", "Filename contains invalid characters"),
        ("gnp.\u202eexe", "Filename contains invalid characters"),
        ("a.EXE", "File extension '.exe' is not allowed for security reasons"),
        ("a.exe ", "File extension '.exe' is not allowed for security reasons"),
        ("a.exe. .", "File extension '.exe' is not allowed for security reasons"),
        ("a.exe\u00a0", "File extension '.exe' is not allowed for security reasons"),
    ],
)
async def test_names_that_no_file_may_have(chat, filename: str, reason: str) -> None:
    response = await post_form(chat, part(f'name="file"; filename="{filename}"', PNG))
    assert_error(response, 400, "invalid_param", "file")
    assert response.json()["message"] == reason


@ON_SQLITE
@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("""filename="=?utf-8?B?5ris6KmmLnBuZw==?="; filename*=utf-8''%E6%B8%AC%E8%A9%A6.png""", "測試.png"),
        ("""filename*=UTF-8'en'a%20b.png""", "a b.png"),
        ("""filename="a.png"; filename*=utf-8''%ff.png""", "a.png"),
        ("""filename="a.png"; filename*=nonsense""", "a.png"),
        ("""filename="a; filename*=utf-8''b.png\"""", "a; filename*=utf-8''b.png"),
    ],
)
async def test_a_name_may_be_given_in_the_extended_notation(chat, given: str, name: str) -> None:
    response = await post_form(chat, part(f'name="file"; {given}', PNG))
    assert (response.status_code, response.json()["name"]) == (201, name)


@ON_SQLITE
async def test_a_name_in_the_extended_notation_leads_out_of_no_folder(chat) -> None:
    response = await post_form(chat, part("""name="file"; filename="a.png"; filename*=utf-8''..%2fa.png""", PNG))
    assert_error(response, 400, "invalid_param", "file")


@ON_SQLITE
async def test_a_long_name_is_shortened_and_keeps_its_extension(chat) -> None:
    assert (await uploaded(chat, name="n" * 300 + ".png"))["name"] == "n" * 196 + ".png"


@ON_SQLITE
@pytest.mark.parametrize(
    ("content_type", "content", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"", 415),
        (f"multipart/form-data; boundary={BOUNDARY}", b"", 400),
        (f"multipart/form-data; boundary={BOUNDARY}", b"no form at all", 400),
        (f"multipart/form-data; boundary={BOUNDARY}", part('name="file"; filename="a.png"', PNG), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", part('name="user"', b"a", None) * 100, 400),
    ],
)
async def test_what_is_no_form(chat, content_type: str, content: bytes, status: int) -> None:
    response = await chat.post("/v1/files/upload", content=content, headers={"Content-Type": content_type})
    assert response.status_code == response.json()["status"] == status


async def test_each_kind_has_its_limit_whatever_its_name_says(serve, tmp_path: Path) -> None:
    limits = {"image_file_size_limit": 1, "file_size_limit": 2}
    async with serve(**limits) as server:
        chat = await server.new_client()
        assert (await upload(chat, PNG + bytes(MEGABYTE - len(PNG)))).status_code == 201
        kept = stored_files(tmp_path / "data")
        assert len(kept) == 1
        assert_error(await upload(chat, PNG + bytes(MEGABYTE), name="a.txt"), 413, "file_too_large")
        assert (await upload(chat, b"words " * 200_000, name="a.png")).status_code == 201
        assert_error(await upload(chat, b"words " * 400_000, name="a.png"), 413, "file_too_large")
        assert len(stored_files(tmp_path / "data")) == 2
        parameters = (await chat.get("/v1/parameters")).json()["system_parameters"]
        assert parameters == {
            "file_size_limit": 2,
            "image_file_size_limit": 1,
            "audio_file_size_limit": 50,
            "video_file_size_limit": 100,
            "workflow_file_upload_limit": 10,
        }


async def test_a_client_that_goes_in_the_middle_leaves_nothing(serve, tmp_path: Path) -> None:
    async with serve() as server:
        chat = await server.new_client()
        await uploaded(chat)
        head, kept = await server.head(), stored_files(tmp_path / "data")

        async def half() -> Any:
            yield part('name="file"; filename="a.png"', PNG + bytes(500_000))[:-2]
            raise ConnectionError

        with pytest.raises(ConnectionError):
            await chat.post(
                "/v1/files/upload",
                content=half(),
                headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
            )
        assert (await upload(chat)).status_code == 201
        incoming = tmp_path / "data" / "files" / "incoming"

        async def is_clean() -> bool:
            return not list(incoming.iterdir())

        await until(is_clean)
        assert len(stored_files(tmp_path / "data")) == len(kept) + 1
        assert await server.head() == head + 1


async def test_what_was_received_and_then_refused_leaves_nothing(serve, tmp_path: Path) -> None:
    async with serve() as server:
        chat = await server.new_client()
        file = part('name="file"; filename="a.png"', PNG)
        assert_error(await post_form(chat, file, file), 400, "too_many_files")
        assert_error(await post_form(chat, file, part('name="user"', b"a" * 256, None)), 400, "invalid_param", "user")
        assert_error(await post_form(chat, file, part('name="user"', b"\xff", None)), 400, "bad_request")
        assert stored_files(tmp_path / "data") == []


@ON_SQLITE
async def test_a_form_is_no_larger_than_its_file_may_be(server, tmp_path: Path) -> None:
    kinds = ("file_size_limit", "image_file_size_limit", "audio_file_size_limit", "video_file_size_limit")
    own = {"file_upload": dict.fromkeys(kinds, 1)}
    chat = server.client(await server.new_key(configuration={"generator": "scripted"} | own))
    padding = part('name="padding"', bytes(2 * MEGABYTE), None)
    form = padding + part('name="file"; filename="a.png"', PNG)

    async def without_a_length() -> Any:
        for at in range(0, len(form), 100_000):
            yield form[at : at + 100_000]

    for content in (form, without_a_length()):
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        assert_error(await chat.post("/v1/files/upload", content=content, headers=headers), 413, "file_too_large")
    field = part('name="user"', b"a" * 100_000, None)
    assert_error(await post_form(chat, field), 413, "request_entity_too_large")


@ON_SQLITE
async def test_an_app_s_own_limits_are_narrower(server) -> None:
    own = {"file_upload": {"file_size_limit": 1, "image_file_size_limit": 1, "video_file_size_limit": 500}}
    chat = server.client(await server.new_key(configuration={"generator": "scripted"} | own))
    assert (await upload(chat, PNG + bytes(MEGABYTE - len(PNG)))).status_code == 201
    for content in (PNG + bytes(MEGABYTE), b"words " * 200_000):
        assert_error(await upload(chat, content), 413, "file_too_large")
    shown = (await chat.get("/v1/parameters")).json()["system_parameters"]
    limits = ("file_size_limit", "image_file_size_limit", "audio_file_size_limit", "video_file_size_limit")
    assert [shown[limit] for limit in limits] == [1, 1, 50, 100]


async def begin_form(
    server: LiveServer, credential: str, path: str = "/v1/files/upload"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A form of which the beginning is sent."""
    address = urlsplit(server.base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {credential}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: 100000\r\n\r\n"
    )
    writer.write(head.encode() + part('name="file"; filename="a.png"', PNG)[:-2])
    return reader, writer


@ON_SQLITE
async def test_a_form_that_is_not_sent_on_ends(serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatledger.adapters.http.multipart.PATIENCE_SECONDS", 0.2)
    async with serve() as server:
        reader, writer = await begin_form(server, await server.new_key())
        async with asyncio.timeout(20):
            assert b" 408 " in await reader.readline()
        writer.close()
        assert stored_files(tmp_path / "data") == []


@ON_SQLITE
async def test_a_form_that_is_sent_on_byte_by_byte_ends(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatledger.adapters.http.multipart.PATIENCE_SECONDS", 0.5)
    async with serve() as server:
        reader, writer = await begin_form(server, await server.new_key())
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            dripping = tasks.create_task(drip(writer))
            assert b" 408 " in await reader.readline()
            dripping.cancel()
        writer.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"\0")
        await asyncio.sleep(0.05)


@ON_SQLITE
async def test_a_visitor_is_counted_before_the_form_is_read(server) -> None:
    app = await server.new_app(configuration={"limits": {"user_requests_per_minute": 1}})
    passport = await server.new_passport(app.site_code)
    assert (await server.client(passport).get("/api/parameters")).status_code == 200
    reader, writer = await begin_form(server, passport, "/api/files/upload")
    async with asyncio.timeout(20):
        assert b" 429 " in await reader.readline()
    writer.close()


@ON_SQLITE
async def test_files_in_an_object_storage(serve, tmp_path: Path) -> None:
    content = PNG + random.Random(4).randbytes(300_000)
    with S3Server(tmp_path / "s3") as storage:
        where = {
            "files_url": f"s3://{BUCKET}/some/folder",
            "files_endpoint": storage.endpoint,
            "files_access_key_id": ACCESS_KEY,
            "files_secret_access_key": SECRET_KEY,
        }
        async with serve(**where) as server:
            chat = await server.new_client()
            body = await uploaded(chat, content)
            assert (await fetch(chat, body["source_url"])).content == content
            part = await fetch(chat, body["source_url"], Range="bytes=100000-100009")
            assert part.content == content[100_000:100_010]
            assert_error(await upload(chat, PNG + bytes(11 * MEGABYTE)), 413, "file_too_large")
            assert {path.name for path in (tmp_path / "s3" / BUCKET / "some" / "folder").iterdir()} == {body["id"]}
            assert not (tmp_path / "data" / "files").exists()
            sealed = (tmp_path / "s3" / BUCKET / "some" / "folder" / body["id"]).read_bytes()
            assert PNG not in sealed
            link = body["source_url"]
            storage.stop()
            response = await fetch(chat, link)
            assert_error(response, 503, "service_unavailable")
            assert SECRET_KEY not in response.text


# By a signed link


async def test_a_link_leads_to_the_bytes_for_whoever_holds_it(server, chat) -> None:
    content = PNG + random.Random(2).randbytes(300_000)
    link = (await uploaded(chat, content))["source_url"]
    assert link.startswith(f"{server.base_url}/files/")

    response = await fetch(server.client(), link)

    assert response.content == content
    assert response.headers["content-type"] == "image/png"
    assert response.headers["content-length"] == str(len(content))
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-disposition"] == "inline; filename*=UTF-8''a%20picture.png"


async def test_the_head_of_a_file_comes_without_its_bytes(server, chat) -> None:
    client = server.client()
    for content in PNG, b"some words":
        link = urlsplit((await uploaded(chat, content))["source_url"])
        path = f"{link.path}?{link.query}"
        whole, head = await client.get(path), await client.head(path, headers={"Range": "bytes=0-9"})
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-type", "content-length", "accept-ranges", "content-disposition", "cache-control"):
            assert head.headers[name] == whole.headers[name]
    assert (await client.head(link.path)).status_code == 403


@ON_SQLITE
async def test_a_link_that_was_changed_or_has_ended_leads_nowhere(serve) -> None:
    async with serve(file_link_lifetime=1) as server:
        chat = await server.new_client()
        link = (await uploaded(chat))["source_url"]
        query = parse_qs(urlsplit(link).query)
        expires, signature = query["expires"][0], query["signature"][0]
        path = urlsplit(link).path
        for changed in [
            path,
            f"{path}?expires={expires}",
            f"{path}?expires={int(expires) + 1}&signature={signature}",
            f"{path}?expires={expires}&signature={'0' * 64}",
            f"/files/{uuid.uuid4()}?expires={expires}&signature={signature}",
        ]:
            assert_error(await server.client().get(changed), 403, "file_access_denied")

        async def has_ended() -> bool:
            return (await fetch(chat, link)).status_code != 200

        await until(has_ended)
        assert_error(await fetch(chat, link), 403, "file_access_denied")


@ON_SQLITE
async def test_a_link_leads_nowhere_while_the_app_is_switched_off(server) -> None:
    app = await server.new_app()
    link = (await uploaded(server.client(app.api_key)))["source_url"]
    apps = server.running.application.apps
    await apps.disable(app.app_id, a_context())
    assert_error(await fetch(server.client(), link), 404, "file_not_found")
    await apps.enable(app.app_id, a_context())
    assert (await fetch(server.client(), link)).content == PNG
    await apps.delete(app.app_id, a_context())
    assert_error(await fetch(server.client(), link), 404, "file_not_found")


async def test_links_begin_with_the_address_that_clients_are_told(tmp_path: Path) -> None:
    from chatledger.adapters.http.settings import HttpSettings

    settings = HttpSettings(public_url="https://chat.example.org/base/")
    async with live_server(tmp_path / "data", http=settings) as server:
        link = (await uploaded(await server.new_client()))["source_url"]
    assert link.startswith("https://chat.example.org/base/files/")


@ON_SQLITE
@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=70000-140000", 70_000, 140_000), ("bytes=199990-", 199_990, 199_999),
     ("bytes=-10", 199_990, 199_999), ("bytes=5-9999999", 5, 199_999)],
)  # fmt: skip
async def test_a_part_of_a_file(server, chat, asked: str, first: int, last: int) -> None:
    content = PNG + random.Random(3).randbytes(200_000 - len(PNG))
    link = (await uploaded(chat, content))["source_url"]
    response = await fetch(server.client(), link, Range=asked)
    assert response.status_code == 206
    assert response.content == content[first : last + 1]
    assert response.headers["content-range"] == f"bytes {first}-{last}/200000"


@ON_SQLITE
async def test_a_part_that_a_file_has_not_or_that_nobody_can_read(server, chat) -> None:
    link = (await uploaded(chat))["source_url"]
    for beyond in ("bytes=5000-", "bytes=-0"):
        response = await fetch(server.client(), link, Range=beyond)
        assert_error(response, 416, "range_not_satisfiable")
        assert response.headers["content-range"] == f"bytes */{len(PNG)}"
    for unread in ("bytes=5-2", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes=x-y"):
        response = await fetch(server.client(), link, Range=unread)
        assert (response.status_code, response.content) == (200, PNG)


async def test_an_empty_file(server, chat) -> None:
    body = await uploaded(chat, b"", name="empty")
    assert (body["size"], body["extension"]) == (0, "")
    response = await fetch(server.client(), body["source_url"])
    assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"", "0")


@ON_SQLITE
async def test_a_page_among_the_files_runs_nothing_in_this_server_s_name(server, chat) -> None:
    page = b"<!DOCTYPE html><html><script>alert(1)</script></html>"
    response = await fetch(server.client(), (await uploaded(chat, page, name="a.html"))["source_url"])
    assert response.headers["content-disposition"].startswith("attachment;")
    assert "sandbox" in response.headers["content-security-policy"]


async def test_bytes_that_were_changed_on_the_disk_are_not_given_out(serve, tmp_path: Path) -> None:
    async with serve() as server:
        link = (await uploaded(await server.new_client()))["source_url"]
        (file,) = stored_files(tmp_path / "data")
        sealed = bytearray(file.read_bytes())
        sealed[50] ^= 1
        file.write_bytes(sealed)
        assert_error(await fetch(server.client(), link), 500, "internal_server_error")
        file.unlink()
        assert_error(await fetch(server.client(), link), 404, "file_not_found")


# As a preview


async def test_a_preview_is_of_what_a_message_of_the_same_app_shows(server, chat) -> None:
    unshown = await uploaded(chat)
    path = f"/v1/files/{unshown['id']}/preview"
    assert_error(await chat.get(path), 404, "file_not_found")
    assert_error(await chat.get(f"/v1/files/{uuid.uuid4()}/preview"), 404, "file_not_found")
    assert_error(await (await server.new_client()).get(path), 403, "file_access_denied")
    assert_error(await server.client().get(path), 401, "unauthorized")
    assert_error(await chat.get("/v1/files/no-id/preview"), 404, "not_found")
