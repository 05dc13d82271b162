"""Embeddings by OpenAI's protocol, from a server that speaks it."""

from collections.abc import AsyncIterator

import pytest

from chatledger.adapters.embedder.openai_compatible import BATCH, OpenAIEmbedder
from chatledger.adapters.openai_clients import OpenAIClients
from chatledger.application.ports.generator import GeneratorError
from tests.support.fake_openai import FakeOpenAI, Received, Refusal, embeddings


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
async def embedder(provider: FakeOpenAI) -> AsyncIterator[OpenAIEmbedder]:
    clients = OpenAIClients(base_url=provider.base_url, api_key="server-key", read_timeout=2.0, environment={})
    yield OpenAIEmbedder(clients)
    await clients.close()


async def test_each_text_gets_its_vector(embedder, provider):
    provider.then(embeddings([1.0, 0.0], [0.0, 2.0]))
    assert [list(vector) for vector in await embedder.embed("m", ["a", "b"])] == [[1.0, 0.0], [0.0, 2.0]]
    (request,) = provider.requests
    assert request.body == {"input": ["a", "b"], "model": "m", "encoding_format": "float"}
    assert request.headers["authorization"] == "Bearer server-key"


async def test_vectors_are_told_apart_by_their_index(embedder, provider):
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    provider.then(Refusal(200, {"data": data}))
    assert [list(vector) for vector in await embedder.embed("m", ["a", "b"])] == [[1.0], [2.0]]


async def test_many_texts_are_asked_for_in_batches(embedder, provider):
    def by_length(request: Received) -> Refusal:
        return embeddings(*([float(len(text))] for text in request.body["input"]))

    provider.always("/embeddings", by_length)
    vectors = await embedder.embed("m", ["x" * length for length in range(1, 2 * BATCH + 2)])
    assert [vector[0] for vector in vectors] == list(range(1, 2 * BATCH + 2))
    assert [len(request.body["input"]) for request in provider.requests] == [BATCH, BATCH, 1]


async def test_no_texts_ask_nobody(embedder, provider):
    assert list(await embedder.embed("m", [])) == []
    assert provider.requests == []


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (embeddings([1.0]), "transient"),
        (embeddings([1.0], [1.0, 2.0]), "transient"),
        (embeddings([1.0], []), "transient"),
        (Refusal(200, {"data": [{"index": 0, "embedding": "AAAA"}, {"index": 1, "embedding": [1.0]}]}), "transient"),
        (Refusal(200, b"[]"), "transient"),
        (Refusal(429, {"error": {"message": "Pay.", "code": "insufficient_quota"}}), "quota"),
        (Refusal(404, {"error": {"message": "no such model"}}), "invalid"),
    ],
)
async def test_anything_else_is_a_failure(embedder, provider, response, kind):
    provider.then(response)
    with pytest.raises(GeneratorError) as raised:
        await embedder.embed("m", ["a", "b"])
    assert raised.value.kind == kind


async def test_it_is_available_where_the_server_has_a_provider(embedder):
    assert embedder.is_available
    assert not OpenAIEmbedder(OpenAIClients(environment={})).is_available
    assert not OpenAIEmbedder(OpenAIClients(api_key=" ", environment={})).is_available
