"""Searching what one person, or all people of an app, asked and were answered."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec

from chatledger.application.accepting import MAX_PAGE, accept_number, accept_text
from chatledger.application.audit.reads import ContentReads
from chatledger.application.caller import Caller, EndUsers, Reader
from chatledger.application.errors import InvalidParameterError, NotFoundError, SearchDisabledError
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.search_index import FoundMessage, SearchIndex
from chatledger.application.ports.views import MessageView, Views
from chatledger.application.queries.directory import AppDirectory
from chatledger.application.queries.history import History
from chatledger.application.search.indexing import Indexer
from chatledger.application.search.matching import Passage, Sought, sought
from chatledger.domain.values import EndUserKind

API: EndUserKind = "service-api"

LONGEST_QUERY = 200
MOST_WORDS = 16
MOST_LOOKED_AT = 500
"""Messages that a request opens at most: they have the terms, but perhaps not the words in their order."""
MOST_CHARACTERS = 5_000_000
"""After which it opens no further one: comparing that much takes a second or two."""


class Hit(msgspec.Struct, frozen=True):
    """A message that has what was asked for, and where in its question and its answer."""

    message: MessageView
    in_query: Sequence[Passage]
    in_answer: Sequence[Passage]


class HitPage(msgspec.Struct, frozen=True):
    """Messages that were found, newest first.

    Attributes:
        beyond: what leads on; None where there is nothing more.
    """

    hits: Sequence[Hit]
    beyond: int | None


class SearchWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for.

    Attributes:
        app_id: of which app; an app's own caller need not say.
        user: whose, by the external id; None for all people of the app, or for the caller's own where it names one.
    """

    query: str
    app_id: UUID | None = None
    user: str | None = None
    limit: int
    beyond: int | None = None


class Searching:
    """The query of whoever looks for something that was said.

    Args:
        indexer: None where there is no index.
    """

    def __init__(
        self,
        indexer: Indexer | None,
        views: Views,
        directory: AppDirectory,
        end_users: EndUsers,
        history: History,
        reads: ContentReads,
    ) -> None:
        self._indexer = indexer
        self._views = views
        self._directory = directory
        self._end_users = end_users
        self._history = history
        self._reads = reads

    async def search(self, reader: Reader, wanted: SearchWanted) -> HitPage:
        """The newest messages that have all the words, within what the reader may see.

        Raises:
            SearchDisabledError: there is no index.
            InvalidParameterError: there is no word to look for, or there are too many, or a page is not that long.
            NotFoundError: there is no such app.
            StorageUnavailableError: the index or the store is in trouble.
        """
        if self._indexer is None:
            raise SearchDisabledError
        accept_number("limit", wanted.limit, 1, MAX_PAGE)
        words = _accept_query(wanted.query)
        app_id = await self._app(reader, wanted.app_id)
        user, kind = (reader.user, reader.kind) if isinstance(reader, Caller) else (wanted.user, API)
        end_user_id = None
        if user is not None:
            person = await self._end_users.find(app_id, kind, user)
            if person is None:
                return HitPage((), None)
            end_user_id = person.end_user_id
        if end_user_id is None:
            await self._reads.note(reader, "app", app_id)
        else:
            await self._reads.note(reader, "end_user", end_user_id)
        terms = self._indexer.terms.asked(app_id, end_user_id, words.texts)
        return await self._page(self._indexer.index, reader, words, terms, wanted)

    async def _app(self, reader: Reader, app_id: UUID | None) -> UUID:
        if isinstance(reader, Caller):
            if app_id not in {None, reader.app.app_id}:
                raise NotFoundError("app")
            return reader.app.app_id
        if app_id is None:
            raise InvalidParameterError("app_id", "app_id is required")
        return (await self._directory.app(app_id)).app_id

    async def _page(
        self, index: SearchIndex, reader: Reader, words: Sought, terms: frozenset[int], wanted: SearchWanted
    ) -> HitPage:
        hits: list[Hit] = []
        beyond, looked_at, characters = wanted.beyond, 0, 0
        while looked_at < MOST_LOOKED_AT:
            found = await index.find(terms, beyond, wanted.limit + 1)
            for each in found:
                if len(hits) == wanted.limit or characters >= MOST_CHARACTERS:
                    return HitPage(hits, beyond)
                beyond, looked_at = each.number, looked_at + 1
                message = await self._message(reader, each)
                if message is None:
                    continue
                characters += len(message.query) + len(message.answer)
                if (hit := await asyncio.to_thread(_hit, words, message)) is not None:
                    hits.append(hit)
            if len(found) <= wanted.limit:
                return HitPage(hits, None)
        return HitPage(hits, beyond)

    async def _message(self, reader: Reader, found: FoundMessage) -> MessageView | None:
        """A message that the reader may see: an auditor's search is on record as one, not with each of its messages."""
        if isinstance(reader, Caller):
            try:
                return await self._history.message(reader, found.message_id)
            except (NotFoundError, KeyDestroyedError):
                return None
        message = await self._views.message(found.message_id)
        return None if message is None or message.is_erased else message


def _accept_query(query: str) -> Sought:
    accept_text("q", query)
    if len(query) > LONGEST_QUERY:
        raise InvalidParameterError("q", f"q must have {LONGEST_QUERY} characters at most")
    words = sought(query)
    count = len(list(words.texts))
    if not count:
        raise InvalidParameterError("q", "q must have a word to look for")
    if count > MOST_WORDS:
        raise InvalidParameterError("q", f"q must have {MOST_WORDS} words at most")
    return words


def _hit(words: Sought, message: MessageView) -> Hit | None:
    if not words.is_in(message.query, message.answer):
        return None
    return Hit(message, words.passages(message.query), words.passages(message.answer))
