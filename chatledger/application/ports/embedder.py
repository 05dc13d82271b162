"""What turns texts into vectors, near to one another where the texts mean the same."""

from collections.abc import Sequence
from typing import Protocol

Vector = Sequence[float]


class Embedder(Protocol):
    """One provider of embeddings."""

    @property
    def is_available(self) -> bool:
        """Whether there is anybody to ask."""
        ...

    async def embed(self, model: str, texts: Sequence[str]) -> Sequence[Vector]:
        """A vector for each text, in their order, all of one length.

        Raises:
            GeneratorError: the provider refused or failed.
        """
        ...
