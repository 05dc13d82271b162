"""Keyed hashes by which what a person asked is known again, and confirmed to nobody once their key is gone."""

import asyncio
import json
from typing import Any, Literal
from uuid import UUID

from chatledger.application.errors import InvalidParameterError
from chatledger.application.ports.keys import Keyring

Purpose = Literal["request", "idempotency key", "request under a key"]
"""What a hash is for: hashes for different ones never equal each other."""


async def fingerprint_of(keyring: Keyring, key_id: UUID, purpose: Purpose, what: Any) -> str:
    """The hash of this under a person's data key, the same for the same in every process.

    Raises:
        InvalidParameterError: it holds inputs that cannot be written down.
        KeyDestroyedError: the person has been erased.
    """
    try:
        content = json.dumps([purpose, what], sort_keys=True, default=str).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParameterError("inputs", "inputs must hold JSON values") from error
    key = keyring.cached(key_id) or await asyncio.to_thread(keyring.key, key_id)
    return key.fingerprint(content)
