"""Answers from a folder of documents: the passages that fit the question best, quoted with their sources."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from chatledger.adapters.generator.app_settings import read_settings
from chatledger.adapters.generator.folder_index import Document, FolderIndex, Hit
from chatledger.adapters.generator.prompt import question_of
from chatledger.adapters.generator.search_tokens import count_words
from chatledger.application.ports.generator import (
    Finish,
    GenerationRequest,
    GeneratorError,
    Part,
    Retrieved,
    SettingsError,
    Text,
)
from chatledger.domain.values import Resource

DOCUMENTATION = Path(__file__).parent / "documentation"
"""What an app without a folder answers from."""

T = TypeVar("T")

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:chatledger:extractive")
# A passage that fits far worse than the best one shares a word with the question, not its subject.
_SHARE_OF_BEST = 0.4
_MAX_LISTED = 50
# A word with the space behind it; what has no spaces comes in pieces of a few characters.
_PIECE = re.compile(r"\S{1,16}\s*|\s+")


class ExtractiveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an app may set.

    Attributes:
        folder: a folder of Markdown (``.md``) and text (``.txt``) files; chatledger's own documentation if there is
            none. A relative path starts at the server's working directory.
        top_k: how many passages are quoted at most, each from another document.
        interval_ms: milliseconds between two words.
    """

    folder: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    interval_ms: Annotated[float, msgspec.Meta(ge=0, le=60_000)] = 0

    def path(self) -> Path:
        """Where the documents are."""
        return DOCUMENTATION if self.folder is None else Path(self.folder).expanduser()


class ExtractiveGenerator:
    """Needs no network, no key and no model; the same question to the same folder gets the same answer.

    Each folder is indexed in memory by a thread of its own when it is first asked, and kept until ``close``.
    """

    name = "extractive"
    repeatable = True

    def __init__(self) -> None:
        self._libraries: dict[Path, _Library] = {}

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse a folder that is not there and figures out of bounds.

        Raises:
            SettingsError: the setting and the reason.
        """
        folder = read_settings(ExtractiveSettings, settings).path()
        try:
            there = folder.is_dir()
        except (OSError, ValueError) as error:
            raise SettingsError(f"folder: {error}") from error
        if not there:
            raise SettingsError(f"folder: {folder} is not a folder that the server can see")

    def settings_for(self, query: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - the port's
        """The app's settings as they are: a query cannot change them."""
        return settings

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Part, None]:
        """Name the passages, then quote them word by word; where none fits, say so and list what there is.

        Raises:
            GeneratorError: the settings are wrong, or the folder cannot be read.
        """
        try:
            settings = read_settings(ExtractiveSettings, request.settings)
        except SettingsError as error:
            raise GeneratorError("invalid", str(error)) from error
        folder = settings.path()
        library = self._library_of(folder)
        question = question_of(request)
        try:
            hits = await library.ask(lambda index: index.search(question, settings.top_k))
            documents = [] if hits else await library.ask(FolderIndex.documents)
        except OSError as error:
            raise GeneratorError("internal", "The folder of documents cannot be read.") from error
        hits = [hit for hit in hits if hit.score >= hits[0].score * _SHARE_OF_BEST]
        if hits:
            yield Retrieved(_resources(folder, hits))
        for piece in _PIECE.findall(_quoted(hits) if hits else _nothing_found(folder, documents)):
            yield Text(piece)
            if settings.interval_ms:
                await asyncio.sleep(settings.interval_ms / 1_000)
        yield Finish("stop")

    async def close(self) -> None:
        """Forget all folders and end their threads."""
        libraries = list(self._libraries.values())
        self._libraries.clear()
        for library in libraries:
            await library.close()

    def _library_of(self, folder: Path) -> "_Library":
        if folder not in self._libraries:
            self._libraries[folder] = _Library(folder)
        return self._libraries[folder]


class _Library:
    """An index and its one thread, which starts with the first question."""

    def __init__(self, folder: Path) -> None:
        self._index = FolderIndex(folder)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="extractive")

    async def ask(self, question: Callable[[FolderIndex], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, self._index)

    async def close(self) -> None:
        await self.ask(FolderIndex.close)
        self._thread.shutdown(wait=False)


def _resources(folder: Path, hits: Sequence[Hit]) -> tuple[Resource, ...]:
    name = folder.resolve().name
    dataset_id = uuid5(_NAMESPACE, name)
    return tuple(_resource(number, hit, name, dataset_id) for number, hit in enumerate(hits, start=1))


def _resource(number: int, hit: Hit, dataset_name: str, dataset_id: UUID) -> Resource:
    document_id = uuid5(dataset_id, hit.document.path)
    return Resource(
        position=number,
        dataset_id=str(dataset_id),
        dataset_name=dataset_name,
        document_id=str(document_id),
        document_name=hit.document.path,
        data_source_type="upload_file",
        segment_id=str(uuid5(document_id, f"{hit.position} {hit.passage.content}")),
        score=hit.score,
        word_count=count_words(hit.passage.content),
        segment_position=hit.position,
        content=hit.passage.content,
        title=hit.passage.title,
    )


def _quoted(hits: Sequence[Hit]) -> str:
    return "\n\n".join(
        "\n".join(f"> {line}".rstrip() for line in hit.passage.content.split("\n"))
        + f"\n\n[{number}] **{hit.passage.title}** ({hit.document.path})"
        for number, hit in enumerate(hits, start=1)
    )


def _nothing_found(folder: Path, documents: Sequence[Document]) -> str:
    name = folder.resolve().name
    if not documents:
        return f"There are no documents in “{name}” yet, so I have nothing to answer from."
    lines = [f"- {document.title} ({document.path})" for document in documents[:_MAX_LISTED]]
    if len(documents) > _MAX_LISTED:
        lines.append(f"- and {len(documents) - _MAX_LISTED} more")
    return f"I found nothing about this in “{name}”. These are the documents that I can quote from:\n\n" + "\n".join(
        lines
    )
