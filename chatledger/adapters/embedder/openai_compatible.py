"""Embeddings by OpenAI's protocol, from the server's own provider."""

from collections.abc import Sequence

import msgspec

from chatledger.adapters.openai_clients import OpenAIClients
from chatledger.application.ports.embedder import Vector
from chatledger.application.ports.generator import GeneratorError

BATCH = 64
"""Texts in one request: some servers take no more."""


class _Embedding(msgspec.Struct, frozen=True):
    index: int
    embedding: tuple[float, ...]


class _Response(msgspec.Struct, frozen=True):
    """What is read of a response. The SDK passes on whatever shape came, so it is checked here."""

    data: tuple[_Embedding, ...]


class OpenAIEmbedder:
    """Asks for one vector for each text."""

    def __init__(self, clients: OpenAIClients) -> None:
        self._clients = clients

    @property
    def is_available(self) -> bool:
        """Whether the server has a provider."""
        return self._clients.has_provider

    async def embed(self, model: str, texts: Sequence[str]) -> Sequence[Vector]:
        """A vector for each text.

        Raises:
            GeneratorError: the provider refused or failed, or gave other vectors than it was asked for.
        """
        vectors: list[Vector] = []
        for start in range(0, len(texts), BATCH):
            vectors += await self._batch(model, texts[start : start + BATCH])
        if len({len(vector) for vector in vectors}) > 1:
            raise GeneratorError("transient", "The provider's embeddings differ in their length.")
        return vectors

    async def _batch(self, model: str, texts: Sequence[str]) -> list[Vector]:
        async with self._clients.asking() as (client, headers):
            # Not the SDK's own choice, base64, which many servers do not know.
            given = await client.embeddings.create(
                input=list(texts), model=model, encoding_format="float", extra_headers=headers
            )
            response = msgspec.convert(given, _Response, from_attributes=True)
        found = sorted(response.data, key=lambda entry: entry.index)
        if [entry.index for entry in found] != list(range(len(texts))) or not all(entry.embedding for entry in found):
            raise GeneratorError("transient", "The provider did not give one embedding for each text.")
        return [entry.embedding for entry in found]
