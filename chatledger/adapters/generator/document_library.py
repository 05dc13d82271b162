"""Folders of documents in use: each is indexed by a thread of its own, and its passages can be cited."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from chatledger.adapters.generator.folder_index import FolderIndex, Hit
from chatledger.application.ports.generator import SettingsError
from chatledger.application.search.tokens import count_words
from chatledger.domain.values import Resource

DOCUMENTATION = Path(__file__).parent / "documentation"
"""What an app without a folder answers from."""

T = TypeVar("T")

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:chatledger:extractive")
# A passage that fits far worse than the best one shares a word with the question, not its subject.
_SHARE_OF_BEST = 0.4


class DocumentLibrary:
    """Each folder is indexed in memory when it is first asked, and kept until ``close``."""

    def __init__(self) -> None:
        self._folders: dict[Path, _Folder] = {}

    async def search(self, folder: Path, question: str, limit: int) -> list[Hit]:
        """The passages that fit the question, best first, each of another document.

        Raises:
            OSError: the folder cannot be read.
        """
        hits = await self.ask(folder, lambda index: index.search(question, limit))
        return [hit for hit in hits if hit.score >= hits[0].score * _SHARE_OF_BEST]

    async def ask(self, folder: Path, question: Callable[[FolderIndex], T]) -> T:
        """What a folder's index answers.

        Raises:
            OSError: the folder cannot be read.
        """
        if folder not in self._folders:
            self._folders[folder] = _Folder(folder)
        return await self._folders[folder].ask(question)

    async def close(self) -> None:
        """Forget all folders and end their threads."""
        folders = list(self._folders.values())
        self._folders.clear()
        for folder in folders:
            await folder.close()


class _Folder:
    """An index and its one thread, which starts with the first question."""

    def __init__(self, path: Path) -> None:
        self._index = FolderIndex(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="extractive")

    async def ask(self, question: Callable[[FolderIndex], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, self._index)

    async def close(self) -> None:
        await self.ask(FolderIndex.close)
        self._thread.shutdown(wait=False)


def folder_of(setting: str | None) -> Path:
    """The folder that an app names, or the documentation."""
    return DOCUMENTATION if setting is None else Path(setting).expanduser()


def require_folder(folder: Path) -> None:
    """Let a folder pass that is there.

    Raises:
        SettingsError: it is not.
    """
    try:
        there = folder.is_dir()
    except (OSError, ValueError) as error:
        raise SettingsError(f"folder: {error}") from error
    if not there:
        raise SettingsError(f"folder: {folder} is not a folder that the server can see")


def cited(folder: Path, hits: Sequence[Hit]) -> tuple[Resource, ...]:
    """Passages as what an answer rests on."""
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
