"""Which annotation answers a question."""

import asyncio
import logging
from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
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


class _OfApp(msgspec.Struct, frozen=True):
    """An app's annotations, and the first of those with each essence."""

    annotations: Sequence[AnnotationView]
    by_essence: Mapping[str, AnnotationView]


class Annotations:
    """Compares questions with the annotations of their app.

    What it remembers of an app is forgotten as soon as the app changes. The vectors of its annotations are kept, of the
    apps that were asked last; whoever asks while they are made waits for the same ones.
    """

    def __init__(self, views: AnnotationViews, embedder: Embedder) -> None:
        self._views = views
        self._embedder = embedder
        self._known: OrderedDict[UUID, _OfApp] = OrderedDict()
        self._changes = 0
        self._vectors: OrderedDict[tuple[UUID, str], Mapping[str, Vector]] = OrderedDict()
        self._under_way: dict[tuple[UUID, str], asyncio.Task[None]] = {}
        self._comparing = asyncio.Semaphore(1)  # threads that compare have to take turns anyhow

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events."""
        for envelope in envelopes:
            if envelope.category == "app":
                self._known.pop(envelope.stream_id, None)
                self._changes += 1

    def forget(self) -> None:
        """Look everything up anew: what it was read from has changed."""
        self._known.clear()
        self._changes += 1

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def match(self, app: AppView, query: str) -> Match | None:
        """The annotation that answers, if there is one: of an equal question, else of the most like one.

        Where nobody can say how like they are, no annotation answers, and the message goes its way.
        """
        setting = app.configuration.annotation_reply
        known = await self._of(app.app_id) if setting.enabled and query.strip() else None
        if known is None or not known.annotations:
            return None
        equal = known.by_essence.get(essence_of(query))
        if equal is not None:
            return _match(app, equal, 1.0)
        if not setting.embedding_model_name:
            return None
        try:
            place, score = await self._nearest(app.app_id, setting.embedding_model_name, query, known.annotations)
        except GeneratorError as error:
            log.warning("app %s: questions are not compared with annotations: %s", app.app_id, error.kind)
            return None
        return _match(app, known.annotations[place], score) if score >= setting.score_threshold else None

    async def _of(self, app_id: UUID) -> _OfApp:
        """What was looked up while an app changed may be of before: it is given, but not remembered."""
        known = self._known.get(app_id)
        if known is not None:
            self._known.move_to_end(app_id)
            return known
        changes = self._changes
        known = await asyncio.to_thread(_of_app, await self._views.annotations(app_id))
        if changes == self._changes:
            self._known[app_id] = known
            if len(self._known) > REMEMBERED_APPS:
                self._known.popitem(last=False)
        return known

    async def _nearest(
        self, app_id: UUID, model: str, query: str, annotations: Sequence[AnnotationView]
    ) -> tuple[int, float]:
        """The place of the annotation whose question is most like this one, and how like it is.

        Raises:
            GeneratorError: the provider of embeddings refused or failed.
        """
        questions = [annotation.question for annotation in annotations]
        vectors = await self._vectors_of((app_id, model), questions)
        (asked,) = await self._embedder.embed(model, [query])
        others = [vectors[question] for question in questions]
        async with self._comparing:
            return await asyncio.to_thread(_nearest, unit(asked), others)

    async def _vectors_of(self, key: tuple[UUID, str], questions: Sequence[str]) -> Mapping[str, Vector]:
        while True:
            vectors = self._vectors.get(key, {})
            if vectors.keys() >= set(questions):
                self._vectors.move_to_end(key)
                return vectors
            task = self._under_way.get(key)
            if task is None:
                task = self._under_way[key] = asyncio.create_task(self._embed(key, questions))
                task.add_done_callback(lambda _: self._under_way.pop(key))
            await asyncio.shield(task)

    async def _embed(self, key: tuple[UUID, str], questions: Sequence[str]) -> None:
        """Have the vectors of these questions, and of no others, at hand. The apps asked longest ago give way."""
        known = self._vectors.get(key, {})
        unknown = [question for question in dict.fromkeys(questions) if question not in known]
        found = await asyncio.to_thread(_units, await self._embedder.embed(key[1], unknown))
        kept = {question: known[question] for question in questions if question in known}
        self._vectors[key] = kept | dict(zip(unknown, found, strict=True))
        self._vectors.move_to_end(key)
        while len(self._vectors) > 1 and sum(map(len, self._vectors.values())) > REMEMBERED_VECTORS:
            self._vectors.popitem(last=False)


def _of_app(annotations: Sequence[AnnotationView]) -> _OfApp:
    by_essence = {essence_of(annotation.question): annotation for annotation in reversed(annotations)}
    return _OfApp(annotations, by_essence)


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
