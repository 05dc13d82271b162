"""What the index holds in the place of words: keyed hashes, by which nobody without the key can tell a word."""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from uuid import UUID

from chatledger.application.ports.keys import Keyring
from chatledger.application.search.tokens import asked_tokens, indexed_tokens

REMEMBERED_TERMS = 65_536
REMEMBERED_APPS = 1_024


class Terms:
    """Makes terms. Those of one app tell nothing of another's, since each app has a key of its own."""

    def __init__(self, keyring: Keyring) -> None:
        def key_of(app_id: UUID) -> bytes:
            return bytes.fromhex(keyring.lookup("search", str(app_id)))

        self._key = lru_cache(REMEMBERED_APPS)(key_of)
        self._term = lru_cache(REMEMBERED_TERMS)(_term)

    def forget(self) -> None:
        """Remember no word that was turned into a term."""
        self._term.cache_clear()

    def indexed(self, app_id: UUID, end_user_id: UUID, *texts: str) -> frozenset[int]:
        """What a message can be found by: its words, and whose it is."""
        key = self._key(app_id)
        tokens = {token for text in texts for token in indexed_tokens(text)}
        return frozenset((_term(key, _person(end_user_id)), *(self._term(key, token) for token in tokens)))

    def asked(self, app_id: UUID, end_user_id: UUID | None, texts: Iterable[str]) -> frozenset[int]:
        """What a message must have to be found: all of these words, and its owner, where there is to be one."""
        key = self._key(app_id)
        terms = {self._term(key, token) for text in texts for token in asked_tokens(text)}
        return frozenset(terms if end_user_id is None else {*terms, _term(key, _person(end_user_id))})


def _person(end_user_id: UUID) -> str:
    """No token has a blank in it."""
    return f"of {end_user_id}"


def _term(key: bytes, token: str) -> int:
    """64 bits of BLAKE2b (RFC 7693) under the key."""
    return int.from_bytes(blake2b(token.encode(), digest_size=8, key=key).digest(), signed=True)
