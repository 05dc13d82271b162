"""Which annotation answers a question."""

import asyncio
import logging
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

import msgspec

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.annotations import AnnotationView, AnnotationViews
from chatledger.application.ports.embedder import Embedder, Vector
from chatledger.application.ports.generator import GeneratorError
from chatledger.application.ports.views import AppView
from chatledger.domain.annotation import essence_of, likeness, unit
from chatledger.domain.values import Account

log = logging.getLogger(__name__)

REMEMBERED_APPS = 256
REMEMBERED_VECTORS = 4_096


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """An annotation that answers, and how like its question is to the one that was asked: 1 for an equal one."""

    annotation_id: UUID
    answer: str
    score: float
    account: Account


class Annotations:
    """Compares questions with the annotations of their app.

    What it remembers of an app is forgotten as soon as any app changes; the vectors of questions are kept, the newest
    ones.
    """

    def __init__(self, views: AnnotationViews, embedder: Embedder) -> None:
        self._views = views
        self._embedder = embedder
        self._known: OrderedDict[UUID, Sequence[AnnotationView]] = OrderedDict()
        self._changes = 0
        self._vectors: OrderedDict[tuple[str, str], Vector] = OrderedDict()

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events."""
        if any(envelope.category == "app" for envelope in envelopes):
            self._known.clear()
            self._changes += 1

    async def match(self, app: AppView, query: str) -> Match | None:
        """The annotation that answers, if there is one: of an equal question, else of the most like one.

        Where nobody can say how like they are, no annotation answers, and the message goes its way.
        """
        setting = app.configuration.annotation_reply
        annotations = await self._of(app.app_id) if setting.enabled and query.strip() else ()
        if not annotations:
            return None
        essence = essence_of(query)
        for annotation in annotations:
            if essence_of(annotation.question) == essence:
                return _match(app, annotation, 1.0)
        if not setting.embedding_model_name:
            return None
        try:
            place, score = await self._nearest(setting.embedding_model_name, query, annotations)
        except GeneratorError as error:
            log.warning("app %s: questions are not compared with annotations: %s", app.app_id, error.kind)
            return None
        return _match(app, annotations[place], score) if score >= setting.score_threshold else None

    async def _of(self, app_id: UUID) -> Sequence[AnnotationView]:
        """What was looked up while an app changed may be of before: it is given, but not remembered."""
        known = self._known.get(app_id)
        if known is None:
            changes = self._changes
            known = await self._views.annotations(app_id)
            if changes == self._changes:
                self._known[app_id] = known
                if len(self._known) > REMEMBERED_APPS:
                    self._known.popitem(last=False)
        return known

    async def _nearest(self, model: str, query: str, annotations: Sequence[AnnotationView]) -> tuple[int, float]:
        """The place of the annotation whose question is most like this one, and how like it is.

        Raises:
            GeneratorError: the provider of embeddings refused or failed.
        """
        questions = [annotation.question for annotation in annotations]
        vectors = {question: known for question in questions if (known := self._vectors.get((model, question)))}
        unknown = [question for question in dict.fromkeys(questions) if question not in vectors]
        given = await self._embedder.embed(model, [query, *unknown])
        asked, *found = await asyncio.to_thread(_units, given)
        for question, vector in zip(unknown, found, strict=True):
            vectors[question] = self._vectors[model, question] = vector
            if len(self._vectors) > REMEMBERED_VECTORS:
                self._vectors.popitem(last=False)
        return await asyncio.to_thread(_nearest, asked, [vectors[question] for question in questions])


def _match(app: AppView, annotation: AnnotationView, score: float) -> Match:
    author = app.configuration.author_name or app.name
    return Match(
        annotation_id=annotation.annotation_id,
        answer=annotation.answer,
        score=score,
        account=Account(id=app.app_id, name=author),
    )


def _units(vectors: Sequence[Vector]) -> list[Vector]:
    """These at the length of 1; as arrays, since lists of them take ten times as much room."""
    return [array("f", unit(vector)) for vector in vectors]


def _nearest(asked: Vector, others: Sequence[Vector]) -> tuple[int, float]:
    scores = [likeness(asked, other) for other in others]
    place = max(range(len(scores)), key=scores.__getitem__)
    return place, scores[place]
