"""Answers from a folder of documents: the passages that fit the question best, quoted with their sources."""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from chatledger.adapters.generator.app_settings import read_settings
from chatledger.adapters.generator.document_library import DocumentLibrary, cited, folder_of, require_folder
from chatledger.adapters.generator.folder_index import Document, FolderIndex, Hit
from chatledger.adapters.generator.prompt import question_of
from chatledger.application.ports.generator import (
    Finish,
    GenerationRequest,
    GeneratorError,
    Part,
    Retrieved,
    SettingsError,
    Text,
)

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
        return folder_of(self.folder)


class ExtractiveGenerator:
    """Needs no network, no key and no model; the same question to the same folder gets the same answer.

    Each folder is indexed in memory by a thread of its own when it is first asked, and kept until ``close``.
    """

    name = "extractive"
    repeatable = True

    def __init__(self) -> None:
        self._library = DocumentLibrary()

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse a folder that is not there and figures out of bounds.

        Raises:
            SettingsError: the setting and the reason.
        """
        require_folder(read_settings(ExtractiveSettings, settings).path())

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
        try:
            hits = await self._library.search(folder, question_of(request), settings.top_k)
            documents = [] if hits else await self._library.ask(folder, FolderIndex.documents)
        except OSError as error:
            raise GeneratorError("internal", "The folder of documents cannot be read.") from error
        if hits:
            yield Retrieved(cited(folder, hits))
        for piece in _PIECE.findall(_quoted(hits) if hits else _nothing_found(folder, documents)):
            yield Text(piece)
            if settings.interval_ms:
                await asyncio.sleep(settings.interval_ms / 1_000)
        yield Finish("stop")

    async def close(self) -> None:
        """Forget all folders and end their threads."""
        await self._library.close()


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
