"""What a file is taken for, by its bytes."""

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatledger.application.files.content_type import HEAD_BYTES, kind_of, mime_type_of

OFFICE = "application/vnd.openxmlformats-officedocument"


def zipped(*names: str, mimetype: str | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        if mimetype is not None:
            archive.writestr("mimetype", mimetype)
        for name in names:
            archive.writestr(name, "<x/>")
    return file.getvalue()


KNOWN = {
    "image/png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(40),
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01" + bytes(40) + b"\xff\xd9",
    "image/gif": b"GIF89a" + bytes(30),
    "image/webp": b"RIFF\x24\0\0\0WEBPVP8 " + bytes(30),
    "image/svg+xml": b'<svg xmlns="http://www.w3.org/2000/svg"></svg>',
    "audio/mpeg": b"ID3\x04" + bytes(6) + b"\xff\xfb\x90\x64" + bytes(100),
    "audio/amr": b"#!AMR\n" + bytes([0x3C, 0x91, 0x17]) + bytes(30),
    "audio/wav": b"RIFF\x24\0\0\0WAVEfmt " + bytes(30),
    "audio/ogg": b"OggS\0\x02" + bytes(22) + b"\x01\x1e\x01vorbis" + bytes(30),
    "audio/flac": b"fLaC\0\0\0\x22" + bytes(30),
    "audio/mp4": b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom" + bytes(30),
    "video/mp4": b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + bytes(30),
    "video/quicktime": b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(30),
    "video/webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webm" + bytes(30),
    "application/pdf": b"%PDF-1.7\n%\xe2\xe3\n1 0 obj\n" + bytes(10),
    "application/json": b'{"a": 1}',
    "text/html": b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>",
    "text/plain": "Grüße, 你好, мир\n".encode() * 5,
    f"{OFFICE}.wordprocessingml.document": zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
    f"{OFFICE}.spreadsheetml.sheet": zipped("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"),
    "application/vnd.oasis.opendocument.text": zipped(
        "content.xml", mimetype="application/vnd.oasis.opendocument.text"
    ),
    "application/zip": zipped("a.txt"),
    "application/octet-stream": b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff" + bytes(60),
}


@pytest.mark.parametrize("mime_type", KNOWN)
def test_common_files_are_known_by_their_bytes(mime_type: str) -> None:
    assert mime_type_of(KNOWN[mime_type]) == mime_type


def test_each_type_has_its_kind() -> None:
    kinds = {mime_type: kind_of(mime_type) for mime_type in KNOWN}
    assert {kind for mime_type, kind in kinds.items() if mime_type.startswith("image/")} == {"image"}
    assert {kind for mime_type, kind in kinds.items() if mime_type.startswith("audio/")} == {"audio"}
    assert {kind for mime_type, kind in kinds.items() if mime_type.startswith("video/")} == {"video"}
    assert kinds["application/zip"] == kinds["application/octet-stream"] == "custom"
    documents = {mime_type for mime_type, kind in kinds.items() if kind == "document"}
    assert documents == {
        "application/pdf", "application/json", "text/html", "text/plain", "application/vnd.oasis.opendocument.text",
        f"{OFFICE}.wordprocessingml.document", f"{OFFICE}.spreadsheetml.sheet",
    }  # fmt: skip


def test_an_archive_is_not_taken_at_its_own_word_for_what_a_browser_would_run() -> None:
    assert mime_type_of(zipped("x", mimetype="text/html")) == "application/zip"


def test_a_character_that_the_head_cuts_in_two_makes_no_binary_of_a_text() -> None:
    text = ("x" + "你" * HEAD_BYTES).encode()
    assert mime_type_of(text[:HEAD_BYTES]) == "text/plain"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Name;Größe\r\nJürgen;1,80\r\n", "cp1252"),
        ("BMW;Größe\r\n", "latin-1"),
        ("你好世界\n", "gbk"),
        ("こんにちは\n", "shift-jis"),
        ("こんにちは\n", "iso-2022-jp"),
        ("Größe\n", "utf-16"),
        ("", "utf-8"),
    ],
)
def test_text_is_text_in_other_encodings_too(text: str, encoding: str) -> None:
    assert mime_type_of(text.encode(encoding)) == "text/plain"


@pytest.mark.parametrize(
    ("folder", "name"),
    [("word", "wordprocessingml.document"), ("xl", "spreadsheetml.sheet"), ("ppt", "presentationml.presentation")],
)
def test_an_office_file_may_list_its_types_last(folder: str, name: str) -> None:
    document = zipped("docProps/app.xml", f"{folder}/a.xml", "a" * 1_000, "[Content_Types].xml")
    assert mime_type_of(document[:1_000]) == f"{OFFICE}.{name}"
    assert mime_type_of(zipped(f"mine/{folder}/a.xml")) == "application/zip"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_something(head: bytes) -> None:
    assert "/" in mime_type_of(head)


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=100))
def test_text_is_never_taken_for_a_picture_or_a_sound(text: str) -> None:
    assert kind_of(mime_type_of(text.encode())) == "document"
