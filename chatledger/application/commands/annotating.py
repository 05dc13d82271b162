"""Annotations: questions that an app answers without its generator, and whether it does."""

from collections.abc import Callable
from typing import Literal
from uuid import UUID, uuid5

import msgspec

from chatledger.application.accepting import MAX_PAGE, MAX_PAGE_NUMBER, accept_number, accept_text
from chatledger.application.caller import Caller
from chatledger.application.errors import InvalidParameterError, NotFoundError
from chatledger.application.features import Features
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.annotations import AnnotationView, AnnotationViews
from chatledger.application.ports.clock import IdFactory
from chatledger.domain.annotation import MAX_ANNOTATIONS
from chatledger.domain.app import App
from chatledger.domain.configuration import AnnotationReply
from chatledger.domain.errors import NoSuchAnnotationError, TooManyAnnotationsError

Action = Literal["enable", "disable"]


class AnnotationPage(msgspec.Struct, frozen=True):
    """Some of an app's annotations, newest first, and how many there are on all pages."""

    annotations: list[AnnotationView]
    total: int


class Annotating:
    """The use cases of the annotation routes. They are the app's own: its key does what it likes with them."""

    def __init__(
        self,
        ledger: Ledger,
        views: AnnotationViews,
        features: Features,
        new_id: IdFactory,
        longest: int,
    ) -> None:
        self._ledger = ledger
        self._views = views
        self._features = features
        self._new_id = new_id
        self._longest = longest

    async def page(self, caller: Caller, page: int, limit: int, keyword: str = "") -> AnnotationPage:
        """The annotations with this in their question or answer, whatever its case. Pages count from 1.

        Raises:
            InvalidParameterError: there is no page of that number, or a page is not that long.
        """
        accept_number("page", page, 1, MAX_PAGE_NUMBER)
        accept_number("limit", limit, 1, MAX_PAGE)
        wanted = accept_text("keyword", keyword).casefold()
        found = [
            annotation
            for annotation in await self._views.annotations(caller.app.app_id)
            if wanted in annotation.question.casefold() or wanted in annotation.answer.casefold()
        ]
        return AnnotationPage(found[(page - 1) * limit : page * limit], len(found))

    async def add(self, caller: Caller, question: str, answer: str) -> AnnotationView:
        """Answer questions like this one so.

        Raises:
            InvalidParameterError: a text is none, or the app has as many annotations as it may have.
            TooLongError: a text is too long.
        """
        annotation_id = self._new_id()
        question, answer = self._accept("question", question), self._accept("answer", answer)
        await self._decide(caller, lambda app: app.add_annotation(annotation_id, question, answer))
        return await self._one(caller, annotation_id)

    async def change(self, caller: Caller, annotation_id: UUID, question: str, answer: str) -> AnnotationView:
        """Give an annotation another question and answer.

        Raises:
            NotFoundError: the app has no such annotation.
            InvalidParameterError: a text is none.
            TooLongError: a text is too long.
        """
        question, answer = self._accept("question", question), self._accept("answer", answer)
        await self._decide(caller, lambda app: app.change_annotation(annotation_id, question, answer))
        return await self._one(caller, annotation_id)

    async def remove(self, caller: Caller, annotation_id: UUID) -> None:
        """Let an annotation answer nothing any more.

        Raises:
            NotFoundError: the app has no such annotation.
        """
        await self._decide(caller, lambda app: app.remove_annotation(annotation_id))

    async def switch(self, caller: Caller, reply: AnnotationReply) -> UUID:
        """Have annotations answer, or not; gives the id of the job that did it, which is done.

        Raises:
            InvalidParameterError: the threshold is none, or nobody makes such embeddings.
        """
        self._features.check_annotation_reply(reply)

        def configure(app: App) -> None:
            app.configure(msgspec.structs.replace(app.configuration, annotation_reply=reply))

        await self._decide(caller, configure)
        return _job(caller, "enable" if reply.enabled else "disable")

    def require_job(self, caller: Caller, action: Action, job_id: UUID) -> None:
        """Let the id of a job pass. Every job is done when its id is told, so it says all that there is to know.

        Raises:
            InvalidParameterError: no job of this app has this id.
        """
        if job_id != _job(caller, action):
            raise InvalidParameterError("job_id", "The job does not exist.")

    def _accept(self, field: str, given: str) -> str:
        text = accept_text(field, given, self._longest)
        if not text.strip():
            raise InvalidParameterError(field, f"{field} is required")
        return text

    async def _decide(self, caller: Caller, command: Callable[[App], None]) -> None:
        def decide(staged: Staged[App]) -> None:
            command(staged.aggregate)

        try:
            await self._ledger.decide(App, caller.app.app_id, decide, caller.context(None))
        except NoSuchAnnotationError as error:
            raise NotFoundError("annotation") from error
        except TooManyAnnotationsError as error:
            raise InvalidParameterError("question", f"an app has at most {MAX_ANNOTATIONS} annotations") from error

    async def _one(self, caller: Caller, annotation_id: UUID) -> AnnotationView:
        found = await self._views.annotation(caller.app.app_id, annotation_id)
        if found is None:
            raise NotFoundError("annotation")
        return found


def _job(caller: Caller, action: Action) -> UUID:
    """Derived: nobody has to remember it."""
    return uuid5(caller.app.app_id, f"annotation-reply {action}")
