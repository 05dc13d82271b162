"""The index of a folder of documents: full-text search over their passages, ranked with BM25."""

import os
import sqlite3
import stat
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import msgspec

from chatledger.adapters.generator.passages import Passage, split_markdown, split_text, title_of
from chatledger.application.search.tokens import asked_tokens, indexed_tokens

MAX_FILES = 10_000
MAX_FILE_BYTES = 2 * 1024 * 1024
MAX_TOTAL_BYTES = 64 * 1024 * 1024
REFRESH_INTERVAL = 2.0
"""Seconds for which the folder is taken to be as it was."""

_SUFFIXES = frozenset((".md", ".txt"))
_MAX_ASKED_TOKENS = 64
_INSERT = "INSERT INTO passages(rowid, subject, heading, above, body) VALUES (?, ?, ?, ?, ?)"
_RANKED = """
    SELECT rowid, bm25(passages, ?, ?, ?, 1.0) AS rank FROM passages WHERE passages MATCH ? ORDER BY rank, rowid
"""
# A heading that asks the same as the question is answered by its passage.
_SUBJECT_WEIGHT = 1.0
# A heading says in a few words what its passage is about. Those above it say it of every section of a document, and so
# of none in particular.
_HEADING_WEIGHT = 4.0
_ABOVE_WEIGHT = 0.25
# Words that every English question has, and that would find a passage in answer to any of them.
_STOP_WORDS = frozenset(
    word
    for line in (
        "a about am an and any are as at be been but by can could did do does doing done explain for from get give had",
        "has have how i if in is it its let m may me mean means might must my need no not of on or our please s",
        "shall should show so t tell than that the their them then there these they this those to us want was we were",
        "what when where which who whom whose why will with work works would you your",
    )
    for word in line.split()
)


class Document(msgspec.Struct, frozen=True):
    """A file of the folder.

    Attributes:
        path: relative to the folder, with slashes.
        title: its first heading or, without one, its name.
    """

    path: str
    title: str


class Hit(msgspec.Struct, frozen=True):
    """A passage that was found.

    Attributes:
        position: which passage of its document it is, from 1.
        score: by BM25, the higher the better; comparable within one search only.
    """

    document: Document
    passage: Passage
    position: int
    score: float


class _Signature(msgspec.Struct, frozen=True):
    modified: int
    size: int


class _Indexed(msgspec.Struct, frozen=True):
    signature: _Signature
    document: Document
    rows: range


class FolderIndex:
    """Markdown and text files of one folder and those below it, held in memory. Used by one thread at a time.

    What is hidden, larger than a document may be, or a link that leads outside is left out, as is what exceeds the
    bounds of this module. Files that change are read again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database: sqlite3.Connection | None = None
        self._indexed: dict[str, _Indexed] = {}
        self._passages: dict[int, tuple[Document, Passage, int]] = {}
        self._next_row = 1
        self._fresh_until = 0.0

    def search(self, query: str, limit: int) -> list[Hit]:
        """The best passages, each of another document.

        Raises:
            OSError: the folder cannot be read.
        """
        database = self._refreshed()
        found: dict[str, Hit] = {}
        with closing(_matching(database, query)) as rows:
            for row, rank in rows:
                document, passage, position = self._passages[row]
                found.setdefault(document.path, Hit(document, passage, position, -rank))
                if len(found) == limit:
                    break
        return list(found.values())

    def documents(self) -> list[Document]:
        """What there is, by path.

        Raises:
            OSError: the folder cannot be read.
        """
        self._refreshed()
        return [self._indexed[path].document for path in sorted(self._indexed)]

    def close(self) -> None:
        """Forget everything."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _refreshed(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = _empty_database()
        if time.monotonic() >= self._fresh_until:
            self._refresh(self._database)
            self._fresh_until = time.monotonic() + REFRESH_INTERVAL
        return self._database

    def _refresh(self, database: sqlite3.Connection) -> None:
        present = dict(islice(_files(self._folder), MAX_FILES))
        for path in [path for path, known in self._indexed.items() if present.get(path) != known.signature]:
            self._drop(database, path)
        total = sum(known.signature.size for known in self._indexed.values())
        for path, signature in present.items():
            if path in self._indexed or total + signature.size > MAX_TOTAL_BYTES:
                continue
            total += signature.size
            self._add(database, path, signature)

    def _add(self, database: sqlite3.Connection, path: str, signature: _Signature) -> None:
        text = _read(self._folder / path)
        if text is None:
            return
        name = Path(path).stem
        markdown = path.lower().endswith(".md")
        document = Document(path, title_of(text, name) if markdown else name)
        passages = list(split_markdown(text, name) if markdown else split_text(text, name))
        rows = range(self._next_row, self._next_row + len(passages))
        self._next_row = rows.stop
        for position, (row, passage) in enumerate(zip(rows, passages, strict=True), start=1):
            *above, heading = passage.headings
            begins = position == 1 or passages[position - 2].headings != passage.headings
            columns = (
                _marked(_subject(heading)) if begins else "",
                _joined(heading),
                _joined(f"{name} {' '.join(above)}"),
                _joined(passage.content),
            )
            database.execute(_INSERT, (row, *columns))
            self._passages[row] = (document, passage, position)
        self._indexed[path] = _Indexed(signature, document, rows)

    def _drop(self, database: sqlite3.Connection, path: str) -> None:
        for row in self._indexed.pop(path).rows:
            database.execute("DELETE FROM passages WHERE rowid = ?", (row,))
            del self._passages[row]


def _empty_database() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None)
    # The tokens are our own, and the ascii tokenizer keeps them: to it every character beyond ASCII is a part of a
    # word, whatever Unicode this SQLite knows. Porter finds the plural of an English word by its singular.
    database.execute(
        "CREATE VIRTUAL TABLE passages USING fts5(subject, heading, above, body, tokenize = 'porter ascii')"
    )
    return database


def _matching(database: sqlite3.Connection, query: str) -> Generator[tuple[int, float], None, None]:
    """The rows that a question finds, best first, each with its rank, the lower the better."""
    subject = _subject(query)
    if not subject:
        return
    expression = f'subject : "{_marked(subject)}"'
    if words := [f'"{token}"' for token in subject if token not in _STOP_WORDS]:
        expression += f" OR {{heading above body}} : ({' OR '.join(words)})"
    weights = (_SUBJECT_WEIGHT, _HEADING_WEIGHT, _ABOVE_WEIGHT)
    with closing(database.execute(_RANKED, (*weights, expression))) as rows:
        yield from rows


def _subject(text: str) -> Sequence[str]:
    """The words that matter in a question or a heading: all of them, where there are only stop words."""
    asked = dict.fromkeys(asked_tokens(text))
    return list(islice((token for token in asked if token not in _STOP_WORDS), _MAX_ASKED_TOKENS)) or list(asked)


def _marked(subject: Sequence[str]) -> str:
    """As a phrase that no longer one contains; no text has the marks among its tokens."""
    return f"\u27e6 {' '.join(subject)} \u27e7" if subject else ""


def _joined(text: str) -> str:
    return " ".join(indexed_tokens(text))


def _files(folder: Path) -> Iterator[tuple[str, _Signature]]:
    """The documents by relative path, in a stable order.

    Raises:
        OSError: the folder itself cannot be read.
    """
    root = folder.resolve(strict=True)
    os.scandir(root).close()
    for directory, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            path = Path(directory, name)
            if name.startswith(".") or path.suffix.lower() not in _SUFFIXES:
                continue
            signature = _signature(path, root)
            if signature is not None:
                yield path.relative_to(root).as_posix(), signature


def _signature(path: Path, root: Path) -> _Signature | None:
    try:
        target = path.resolve(strict=True) if path.is_symlink() else path
        status = target.stat()
    except (OSError, RuntimeError):  # the latter is pathlib's word for links that lead to each other
        return None
    if not target.is_relative_to(root) or not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
        return None
    return _Signature(status.st_mtime_ns, status.st_size)


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError:
        return None
    return None if len(content) > MAX_FILE_BYTES else content.decode("utf-8-sig", "replace")
