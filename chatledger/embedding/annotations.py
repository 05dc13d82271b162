"""Annotations: questions that an app answers without its generator, where its configuration says so."""

from uuid import UUID

from chatledger.application.accepting import DEFAULT_PAGE, accept_id
from chatledger.application.commands.annotating import AnnotationPage
from chatledger.application.ports.annotations import AnnotationView
from chatledger.embedding.access import Access


class Annotations:
    """``ledger.annotations``. They answer while the app's ``annotation_reply`` is enabled."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def add(self, app: UUID, question: str, answer: str) -> AnnotationView:
        """Answer questions like this one so.

        Raises:
            InvalidParameterError: a text is none or too long, or the app has as many annotations as it may have.
            NotFoundError: there is no such app.
        """
        with self._access.use() as application:
            return await application.annotating.add(await self._access.caller(app, None), question, answer)

    async def change(self, app: UUID, annotation_id: UUID, question: str, answer: str) -> AnnotationView:
        """Give an annotation another question and answer.

        Raises:
            InvalidParameterError: a text is none or too long.
            NotFoundError: there is no such app, or it has no such annotation.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, None)
            return await application.annotating.change(
                caller, accept_id("annotation_id", annotation_id), question, answer
            )

    async def remove(self, app: UUID, annotation_id: UUID) -> None:
        """Let an annotation answer nothing any more.

        Raises:
            NotFoundError: there is no such app, or it has no such annotation.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, None)
            await application.annotating.remove(caller, accept_id("annotation_id", annotation_id))

    async def list(self, app: UUID, *, keyword: str = "", page: int = 1, limit: int = DEFAULT_PAGE) -> AnnotationPage:
        """The annotations with this in their question or answer, newest first. Pages count from 1.

        Raises:
            InvalidParameterError: there is no such page.
            NotFoundError: there is no such app.
        """
        with self._access.use() as application:
            return await application.annotating.page(await self._access.caller(app, None), page, limit, keyword)
